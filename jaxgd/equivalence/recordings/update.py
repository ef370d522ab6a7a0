"""What one side did in each update of a training, stage by stage."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of
from jaxgd.equivalence.recordings.trajectory import Trajectory, read_trajectory


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


Recording = Sequence[Update]


def stage(recording: Recording, name: str) -> list[Any] | None:
    """One stage of all updates; None unless every update holds it."""
    values = [getattr(update, name) for update in recording]
    return None if any(value is None for value in values) else values


def read_update(update: Update) -> Update:
    """The update with each stage's leaves in NumPy, by path: read once, whatever asks for them.

    A loss that is a plain number stays one: it has no precision of its own.
    """
    stages = {
        name: leaves_of(tree, name)
        for name, tree in update._asdict().items()
        if tree is not None and type(tree) not in (bool, int, float)
    }
    return update._replace(**stages)


def gradient_of(update: Update) -> Leaves:
    """The gradient by path; what is frozen, and has none, has zeros."""
    gradient = leaves_of(update.gradient, "gradient")
    frozen = {
        path: np.zeros_like(leaf)
        for path, leaf in leaves_of(update.params, "params").items()
        if path not in gradient
    }
    return gradient | frozen


class Moves(NamedTuple):
    """A recording as the optimizer sees it: matrices [updates, entries] in float64."""

    gradients: Float[np.ndarray, "updates entries"]
    params: Float[np.ndarray, "updates entries"]
    steps: Float[np.ndarray, "updates entries"]
    leaves: dict[str, tuple[slice, np.dtype]]  # where each leaf's entries lie, by path
    norms: Float[np.ndarray, " updates"]  # of the whole gradient

    def sampled(self, entries: int) -> "Moves":
        """At most so many entries of each leaf, spread evenly; the norms are still the whole's."""
        chosen, leaves, end = [], {}, 0
        for path, (place, dtype) in self.leaves.items():
            stride = -(-(place.stop - place.start) // entries)
            chosen.append(np.arange(place.start, place.stop, max(stride, 1)))
            leaves[path] = slice(end, end + len(chosen[-1])), dtype
            end += len(chosen[-1])
        at = np.concatenate(chosen)
        gradients, params, steps = (s[:, at] for s in (self.gradients, self.params, self.steps))
        return Moves(gradients, params, steps, leaves, self.norms)


def moves(recording: Recording) -> Moves:
    """The gradients, the parameters before, and what the updates added to them."""
    params, gradients, updated = (
        read_trajectory(trees, name)
        for name, trees in (
            ("params", [update.params for update in recording]),
            ("gradient", [gradient_of(update) for update in recording]),
            ("updated", [update.updated for update in recording]),
        )
    )
    paths = sorted(params.leaves)
    shapes = [
        {path: leaf.shape[1:] for path, leaf in run.leaves.items()}
        for run in (params, gradients, updated)
    ]
    if shapes[1:] != shapes[:1] * 2:
        raise ValueError(
            "params, gradient and updated hold the same leaves in the same shapes; "
            "got {}, {} and {}. Rename or transpose them.".format(*shapes)
        )
    ends = np.cumsum([params.leaves[path][0].size for path in paths]).tolist()
    leaves = {
        path: (slice(start, end), params.leaves[path].dtype)
        for path, start, end in zip(paths, [0, *ends], ends, strict=False)
    }
    before = _matrix(params, paths)
    descent = _matrix(gradients, paths)
    with np.errstate(over="ignore", invalid="ignore"):  # a side may diverge
        steps, norms = _matrix(updated, paths) - before, np.linalg.norm(descent, axis=1)
    return Moves(descent, before, steps, leaves, norms)


def _matrix(trajectory: Trajectory, paths: list[str]) -> Float[np.ndarray, "updates entries"]:
    columns = [trajectory.leaves[path].reshape(trajectory.updates, -1) for path in paths]
    return np.concatenate([column.astype(np.float64) for column in columns], axis=1)
