"""The state of each optimizer by torch's names, and how to reach it in what wraps it."""

from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.layout import Place
from jaxgd.optim.lbfgs_rule import LBFGSState
from jaxgd.optim.learning_rate import LearningRateState
from jaxgd.optim.registry import REGISTRY

# Torch's step goes into each of these that a state has.
COUNTERS = ("step", "t")
# The rows of a transposed leaf are torch's columns.
TRANSPOSED = {"row_var": "col_var", "col_var": "row_var"}


Buffers = dict[str, list[Any]]  # our field -> its leaves, with None or MaskedNode for the others


def buffers_of(name: str, state: optax.OptState, params: PyTree) -> Buffers:
    """The buffers of an optimizer's state, by our names; `state` may be one of shapes alone."""
    treedef: Any = jax.tree.structure(params)
    found = fields(state)
    return {
        field: treedef.flatten_up_to(found[field])
        for field in REGISTRY[name].buffers
        if field in found
    }


def held(name: str, buffers: Buffers, leaf: int, place: Place) -> dict[str, str]:
    """Torch's buffers of one leaf, as far as it has them here, and our fields for them."""
    turned = TRANSPOSED if place.transposed else {}
    names = {key: turned.get(key, key) for key in REGISTRY[name].buffers}
    return {
        key: field
        for key, field in names.items()
        if field in buffers and _is_array(buffers[field][leaf])
    }


def _is_array(buffer: Any) -> bool:
    """Not None, nor what stands for a leaf of another group."""
    return hasattr(buffer, "dtype") or hasattr(buffer, "imaginary")


def fields(state: optax.OptState) -> dict[str, Any]:
    """The fields of all the states in a chain, by name, those without a value left out."""
    if type(state) is tuple:
        found: dict[str, Any] = {}
        for part in state:
            found |= fields(part)
        return found
    return {name: value for name, value in state._asdict().items() if value is not None}


def with_fields(state: optax.OptState, values: dict[str, Any]) -> optax.OptState:
    """The chain with these values in every state that has such a field."""
    if type(state) is tuple:
        return tuple(with_fields(part, values) for part in state)
    return state._replace(**{name: values[name] for name in state._fields if name in values})


def parts(state: optax.OptState) -> list[optax.OptState]:
    """The states of jaxgd.optim's optimizers in whatever wraps them, one for each group.

    Through optax's chain, partition, masked, inject_hyperparams, MultiSteps, apply_if_finite and
    every other wrapper whose state holds another's.
    """
    if isinstance(state, LBFGSState) or (
        type(state) is tuple and any(isinstance(part, LearningRateState) for part in state)
    ):
        return [state]
    if isinstance(state, optax.MultiStepsState) and int(state.mini_step):
        raise ValueError(
            f"state must be one between two updates; got {int(state.mini_step)} gradients in "
            "MultiSteps, which torch has in .grad. Go on until they have made an update."
        )
    if isinstance(state, (tuple, list)):
        return [found for part in state for found in parts(part)]
    if isinstance(state, dict):
        return [found for part in state.values() for found in parts(part)]
    return []


def whole(buffer: Any) -> np.ndarray:
    """A buffer as an array: a complex one out of the two that split_real_and_imaginary keeps."""
    if hasattr(buffer, "imaginary"):
        return np.asarray(buffer.real) + 1j * np.asarray(buffer.imaginary)
    return np.asarray(buffer)
