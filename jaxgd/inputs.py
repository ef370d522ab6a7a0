"""What a run may be given. Each check names the rule, what was given and the remedy."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import tree_structure
from jaxtyping import Array, ArrayLike, PyTree

from jaxgd.arguments import check_batch_size as check_batch_size
from jaxgd.arguments import check_count as check_count
from jaxgd.arguments import check_rate as check_rate

Optimizer: TypeAlias = optax.GradientTransformation | optax.MultiSteps
OfRate: TypeAlias = Callable[[Any], Optimizer]

_ARRAY_LIKE = (jax.Array, np.ndarray, np.generic, float, int, complex)


@partial(jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["n"])
@dataclass(frozen=True)
class Padded:
    """Data of which the first n rows are examples, and the others there for their number only.

    `jaxgd.scale.spread` makes them, for `jaxgd.scale.data_parallel(…, rows="owned")`.
    """

    rows: PyTree
    n: int


def count_examples(data: PyTree) -> int:
    """The number n of examples: the length of the leading axis that all leaves share.

    Raises ValueError for no leaves, a scalar leaf, leaves of different length, or n = 0, and for
    `Padded` rows, some of which are no examples; TypeError for sparse arrays.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data, is_leaf=_is_no_array)
    if any(isinstance(leaf, Padded) for _, leaf in leaves):
        raise ValueError(
            "data must be without padding; got rows that jaxgd.scale.spread has padded. They are "
            'for train or fit with data_parallel(…, rows="owned"), without row_keys. Use '
            "jaxgd.scale.on_mesh(data, mesh) elsewhere."
        )
    if any(_is_sparse(leaf) for _, leaf in leaves):
        raise TypeError(
            "data must be dense; got a sparse array, whose rows cannot be taken one by one. "
            "Use .todense(), or pass each row's indices and values."
        )
    if not leaves:
        raise ValueError("data must hold at least one array; got none. Pass arrays, e.g. (x, y).")
    shapes = {jax.tree_util.keystr(path) or "data": np.shape(leaf) for path, leaf in leaves}
    if any(shape == () for shape in shapes.values()):
        raise ValueError(
            f"every leaf of data must have a leading axis of examples; got shapes {shapes}. "
            "Put constants into the loss instead."
        )
    lengths = {shape[0] for shape in shapes.values()}
    if len(lengths) > 1:
        raise ValueError(
            f"all leaves of data must have the same number of examples; got shapes {shapes}. "
            "Check that no rows were lost on one side."
        )
    n = lengths.pop()
    if n == 0:
        raise ValueError(f"data must hold at least one example; got shapes {shapes}.")
    return n


def count_spread(data: PyTree) -> int:
    """As `count_examples`, but 0 without leaves, and of `Padded` data those that count."""
    if isinstance(data, Padded):
        return data.n
    return count_examples(data) if jax.tree.leaves(data) else 0


def check_order(order: ArrayLike | None, n: int) -> Array | None:
    """The order as an array, None for None; ValueError unless it is one of row numbers below n.

    The values of a traced order cannot be checked.
    """
    if order is None:
        return None
    if jnp.shape(order) == (0,):
        return jnp.zeros(0, jnp.int32)
    if jnp.ndim(order) != 1 or not jnp.issubdtype(jnp.asarray(order).dtype, jnp.integer):
        raise ValueError(
            "order must be one-dimensional, of integers; got "
            f"{jnp.asarray(order).dtype}{list(jnp.shape(order))}. Use shuffle(key, n), or None for "
            "the rows as they lie; for several epochs, one order each."
        )
    if not isinstance(order, jax.core.Tracer):
        check_below("an order's row numbers", np.asarray(order), n)
    return jnp.asarray(order)


def check_below(name: str, rows: np.ndarray, n: int) -> None:
    """ValueError for row numbers outside [0, n)."""
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        worst = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"{name} must be in [0, n); got {worst} with n={n}. Count rows from 0.")


def check_params(params: PyTree) -> None:
    """TypeError for parameters that are not arrays of real floating-point numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = "params" + jax.tree_util.keystr(path)
        if not isinstance(leaf, _ARRAY_LIKE):
            raise TypeError(
                f"parameters must be arrays; got {name}, a {type(leaf).__name__}. Keep it out of "
                "params; for an Equinox module: eqx.partition(module, eqx.is_inexact_array)."
            )
        dtype = jnp.asarray(leaf).dtype
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"parameters must be real; got {name} of {dtype}, along whose gradient a step "
                "ascends. Use real and imaginary parts as two leaves."
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"parameters must be floating point; got {name} of {dtype}, whose updates "
                "would be truncated. Convert it with jnp.asarray(…, jnp.float32)."
            )


def check_state_of(state: Any, optimizer: Optimizer) -> None:
    """Raise unless the state is one of this optimizer over real floating-point params."""
    if not all(hasattr(state, name) for name in ("params", "opt_state", "_replace")):
        raise TypeError(
            f"a descent's state must be a State(params, opt_state); got a {type(state).__name__}. "
            "Use init_state(params, optimizer)."
        )
    check_params(state.params)
    own = jax.eval_shape(optimizer.init, state.params)
    wanted: Any = tree_structure(own)
    found: Any = tree_structure(state.opt_state)
    if wanted != found:
        ours, theirs = _outline(own), _outline(state.opt_state)
        if ours == theirs:
            ours, theirs = f"{ours} for these params", f"{theirs} for others"
        raise ValueError(
            f"the state must be of this optimizer, {ours}; got {theirs}. "
            "Use init_state(state.params, optimizer) to begin with another optimizer."
        )


def check_updates(updates: PyTree, params: PyTree) -> None:
    """ValueError for an optimizer's updates that are not shaped as the params: they would spread.

    optax.apply_updates broadcasts them in silence.
    """
    found, wanted = (
        jax.tree.map(lambda leaf: str(jnp.shape(leaf)), tree) for tree in (updates, params)
    )
    if not alike(found, wanted):
        raise ValueError(
            f"an optimizer's updates must have the shapes of params; got {found} for {wanted}. "
            "Return one number for each parameter."
        )


def alike(a: PyTree, b: PyTree) -> bool:
    """Whether two trees have one structure and equal leaves, whatever their containers compare."""
    one: Any = jax.tree.flatten(a)
    return one == jax.tree.flatten(b)


def check_run(key: Any, start: Any, *, needs_key: bool) -> None:
    """Raise for a run without the key it needs, or that starts at no epoch."""
    if needs_key and key is None:
        raise TypeError(
            "a run needs a key for its orders; got none. Use jax.random.key(0), or order=None."
        )
    if np.shape(start) != () or not jnp.issubdtype(jnp.asarray(start).dtype, jnp.integer):
        raise ValueError(
            f"start must be the number of an epoch; got {start!r}. Of a fit's position that is "
            ".epoch, where its .update is 0."
        )


def check_makes_one(optimizer: Any) -> None:
    """TypeError for an optimizer that is made, where a function of its settings must make it."""
    if hasattr(optimizer, "update") or not callable(optimizer):
        raise TypeError(
            "optimizer must be a function that makes one of its settings, such as optax.sgd or "
            f"lambda rate: optax.sgd(rate, momentum=0.9); got a {type(optimizer).__name__}."
        )


def check_made(optimizer: Any) -> None:
    """TypeError for what is no optimizer, such as a function that makes one."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            "optimizer must be one of optax's or of jaxgd.optim; got a "
            f"{type(optimizer).__name__}. Call it: optax.sgd(0.1)."
        )


def check_untraced(name: str, remedy: str, *trees: PyTree) -> None:
    """TypeError inside jit, grad or vmap, for what runs on the host."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees)):
        raise TypeError(f"{name} runs on the host and cannot be traced; got a tracer. {remedy}")


def _outline(state: Any) -> str:
    """The types that an optimizer's state is made of."""
    if isinstance(state, tuple) and not hasattr(state, "_fields"):
        return f"({', '.join(map(_outline, state))})"
    return type(state).__name__


def _is_no_array(leaf: Any) -> bool:
    return isinstance(leaf, Padded) or _is_sparse(leaf)


def _is_sparse(leaf: Any) -> bool:
    return hasattr(leaf, "todense")
