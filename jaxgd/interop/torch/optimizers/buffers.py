"""The state of each optimizer by torch's names and by ours, and how to reach it in a chain."""

from typing import Any

import jax
import optax
from jaxtyping import PyTree

from jaxgd.interop.torch.layout import Place

# optimizer -> torch's buffer -> the field of our state. Each has the leaves of the parameters.
BUFFERS: dict[str, dict[str, str]] = {
    "adadelta": {"square_avg": "e_g", "acc_delta": "e_x"},
    "adafactor": {"row_var": "row_var", "col_var": "col_var", "variance": "variance"},
    "adagrad": {"sum": "sum"},
    "adam": {
        "exp_avg": "exp_avg",
        "exp_avg_sq": "exp_avg_sq",
        "max_exp_avg_sq": "max_exp_avg_sq",
    },
    "adamax": {"exp_avg": "exp_avg", "exp_inf": "exp_inf"},
    "asgd": {"ax": "ax"},
    "muon": {"momentum_buffer": "momentum_buffer"},
    "nadam": {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"},
    "radam": {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"},
    "rmsprop": {"square_avg": "nu", "grad_avg": "mu", "momentum_buffer": "trace"},
    "rprop": {"prev": "prev", "step_size": "step_size"},
    "sgd": {"momentum_buffer": "trace"},
    "sparse_adam": {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"},
}
BUFFERS["adamw"] = BUFFERS["adam"]

# What torch keeps for each parameter, and we once for all that have counted the same updates.
SCALARS = {"step", "mu_product", "eta", "mu"}
# Torch's step goes into each of these that a state has.
COUNTERS = ("step", "t", "count")
# Torch counts no updates for them: the first is told by the missing buffer.
UNCOUNTED = {"lbfgs", "muon", "sgd"}
# The rows of a transposed leaf are torch's columns.
TRANSPOSED = {"row_var": "col_var", "col_var": "row_var"}


Buffers = dict[str, list[Any]]  # our field -> its leaves, with None or MaskedNode for the others


def buffers_of(name: str, state: optax.OptState, params: PyTree) -> Buffers:
    """The buffers of an optimizer's state, by our names; `state` may be one of shapes alone."""
    treedef: Any = jax.tree.structure(params)
    found = fields(state)
    return {
        field: treedef.flatten_up_to(found[field])
        for field in BUFFERS[name].values()
        if field in found
    }


def held(name: str, buffers: Buffers, leaf: int, place: Place) -> dict[str, str]:
    """Torch's buffers of one leaf, as far as it has them here, and our fields for them."""
    names = BUFFERS[name]
    if place.transposed:
        names = {key: TRANSPOSED.get(field, field) for key, field in names.items()}
    return {
        key: field
        for key, field in names.items()
        if field in buffers and hasattr(buffers[field][leaf], "dtype")
    }


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
    """The states of the groups of an `optax.partition` in the chain, or else the state itself."""

    def is_partition(part: object) -> bool:
        return isinstance(part, optax.PartitionState)

    for part in filter(is_partition, jax.tree.leaves(state, is_leaf=is_partition)):
        return [masked.inner_state for masked in part.inner_states.values()]
    return [state]
