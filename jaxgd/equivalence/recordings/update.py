"""What one side did in each update of a training, stage by stage."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of


class Update(NamedTuple):
    """One update; each stage is a pytree of arrays (JAX, torch, NumPy), None if not recorded.

    Record copies: `tensor.detach().clone()`. The gradient is the one of the loss, as it is before
    clipping; weight decay and clipping are the optimizer's. A parameter without a gradient (torch's
    None) is frozen, and the same as one whose gradient is zero.
    """

    params: Any  # before the update
    gradient: Any
    updated: Any  # the parameters after it
    batch: Any = None  # what was seen: row numbers, or arrays whose first axis is the rows
    outputs: Any = None  # what the model made of each row
    loss: Any = None
    opt_state: Any = None  # after the update, under the same names on both sides
    buffers: Any = None  # what the model keeps beside its parameters (running means), before it
    updated_buffers: Any = None  # ... and after it
    activations: Any = None  # by layer, in forward order: see `recordings.layers`


Recording = Sequence[Update]


def stage(recording: Recording, name: str) -> list[Any] | None:
    """One stage of all updates; None unless every update holds it."""
    values = [getattr(update, name) for update in recording]
    return None if any(value is None for value in values) else values


def read_update(update: Update) -> Update:
    """The update with each stage's leaves in NumPy, by path: read once, whatever asks for them.

    A loss that is a plain number stays one: it has no precision of its own. Activations stay as
    they are, to be read a layer at a time.
    """
    stages = {
        name: leaves_of(tree, name)
        for name, tree in update._asdict().items()
        if tree is not None and type(tree) not in (bool, int, float) and name != "activations"
    }
    return update._replace(**stages)


def gradient_of(update: Update) -> Leaves:
    """The gradient by path; what is frozen, and has none, has zeros."""
    gradient = leaves_of(update.gradient, "gradient")
    frozen = {
        path: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
        for path, leaf in leaves_of(update.params, "params").items()
        if path not in gradient
    }
    return gradient | frozen
