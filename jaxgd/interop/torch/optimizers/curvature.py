"""L-BFGS's state, which torch keeps as flat vectors over all parameters in its own order."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Shaped

from jaxgd.interop.torch.optimizers.source import Source
from jaxgd.interop.torch.tensors import from_tensor, number, to_tensor
from jaxgd.optim.lbfgs_rule import LBFGSState

SCALARS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")
VECTORS = ("d", "prev_flat_grad")
HISTORIES = ("old_dirs", "old_stps")


def from_torch(source: Source, start: LBFGSState, step: int) -> LBFGSState:
    """Torch's state in the fields of `start`, the state of a beginning; `step` updates are done."""
    if any(leaf.frozen for leaf in source.leaves):
        raise ValueError(
            "params of lbfgs must all be trained, as its curvature is one for all; got some with "
            "requires_grad=False. Leave them out of torch's optimizer and of params."
        )
    given = source.leaves[source.order[0]].state  # torch keeps it with its first parameter
    if not given:
        return start
    flat = flat_order(source)
    pairs = len(given["ro"])
    if pairs > len(start.ro):
        raise ValueError(
            f"history_size must hold torch's history; got {len(start.ro)} and {pairs} pairs. "
            "Use the group's own history_size."
        )

    def rows(vectors: Sequence[Any], start: Shaped[jnp.ndarray, "..."]) -> jnp.ndarray:
        filled = np.array(start)
        for row, vector in enumerate(vectors):
            filled[row] = vector
        return jnp.asarray(filled)

    vectors = {name: from_tensor(given[name])[flat] for name in VECTORS}
    if vectors["d"].dtype != start.d.dtype:
        raise TypeError(
            f"params must have torch's dtype; got {start.d.dtype} and a state of "
            f"{vectors['d'].dtype}. Use params_from_torch, in JAX's 64-bit mode for double."
        )
    return start._replace(
        step=jnp.asarray(step, start.step.dtype),
        num_old=jnp.asarray(pairs, start.num_old.dtype),
        ro=rows([number(value) for value in given["ro"]], start.ro),
        **{name: jnp.asarray(vector) for name, vector in vectors.items()},
        **{
            name: rows([from_tensor(row)[flat] for row in given[name]], getattr(start, name))
            for name in HISTORIES
        },
        **{name: jnp.asarray(number(given[name]), getattr(start, name).dtype) for name in SCALARS},
    )


def to_torch(source: Source, state: LBFGSState) -> dict[str, Any]:
    """The state that torch keeps with its first parameter."""
    back = np.argsort(flat_order(source))
    pairs = int(state.num_old)

    def vector(row: Any) -> Any:
        return to_tensor(np.asarray(row).astype(state.d.dtype)[back])

    return {
        "func_evals": int(state.func_evals),
        "n_iter": int(state.n_iter),
        "t": float(state.t),
        "H_diag": to_tensor(np.asarray(state.H_diag)),
        "prev_loss": float(state.prev_loss),
        "ro": [to_tensor(np.asarray(value)) for value in state.ro[:pairs]],
        **{name: vector(getattr(state, name)) for name in VECTORS},
        **{name: [vector(row) for row in getattr(state, name)[:pairs]] for name in HISTORIES},
    }


def flat_order(source: Source) -> Int[np.ndarray, " n"]:
    """Where each number of the params, all as one vector, is in torch's vector."""
    where: dict[int, np.ndarray] = {}
    offset = 0
    for leaf in source.order:
        place = source.leaves[leaf].place
        indices = offset + np.arange(np.prod(place.torch_shape, dtype=int))
        where[leaf] = place.to_leaf(indices.reshape(place.torch_shape), place.shape).ravel()
        offset += indices.size
    return np.concatenate([where[leaf] for leaf in sorted(where)])
