"""What a run may be given. Each check names the rule, what was given and the remedy."""

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, PyTree

Optimizer: TypeAlias = optax.GradientTransformation | optax.MultiSteps


_ALL_ROWS = "Full gradient descent is gd, or batch_size=None in fit."


def count_examples(data: PyTree) -> int:
    """The number n of examples: the length of the leading axis that all leaves share.

    Raises ValueError for no leaves, a scalar leaf, leaves of different length, or n = 0.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data)
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


def check_batch_size(batch_size: Any, n: int | None = None) -> int:
    """The batch size as an int in [1, n]; ValueError or TypeError if it is none."""
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size must be an integer in [1, n]; got batch_size={batch_size!r}. {_ALL_ROWS}"
        ) from None
    if isinstance(batch_size, bool) or size < 1 or (n is not None and size > n):
        given = f"batch_size={batch_size!r}" + ("" if n is None else f" with n={n}")
        raise ValueError(f"batch_size must be in [1, n]; got {given}. {_ALL_ROWS}")
    return size


def check_order(order: ArrayLike | None, n: int) -> Array:
    """The order as an array, the rows as they lie for None; ValueError unless it holds n integers.

    Its values are not checked.
    """
    if order is None:
        return jnp.arange(n)
    order = jnp.asarray(order)
    if order.shape != (n,) or not jnp.issubdtype(order.dtype, jnp.integer):
        raise ValueError(
            f"order must hold n={n} row numbers; got {order.dtype}{list(order.shape)}. "
            "Use shuffle(key, n), or None for the rows as they lie."
        )
    return order


def check_count(name: str, count: Any) -> int:
    """A count such as epochs as an int of at least 1; ValueError or TypeError if it is none."""
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least 1; got {name}={count!r}.") from None
    if isinstance(count, bool) or number < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {name}={count!r}.")
    return number


def check_key(key: Any) -> Array:
    """The random key, if it is one; TypeError for a bare seed."""
    if isinstance(key, jax.Array | np.ndarray) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ())
        or (key.shape, key.dtype) == ((2,), np.uint32)
    ):
        return jnp.asarray(key)
    raise TypeError(f"key must be one JAX random key; got {key!r}. Use jax.random.key(0).")


def check_params(params: PyTree) -> None:
    """Raise TypeError for parameters that are not floating point, ValueError if not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = "params" + jax.tree_util.keystr(path)
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.inexact):
            raise TypeError(
                f"parameters must be floating point; got {name} of {array.dtype}, whose updates "
                "would be truncated. Convert it with jnp.asarray(…, jnp.float32)."
            )
        if not jnp.isfinite(array).all():
            raise ValueError(f"parameters must be finite; got {name} with NaN or inf.")


def check_data(name: str, data: PyTree) -> PyTree:
    """The data as arrays on the device.

    Raises TypeError for strings, objects and complex numbers, ValueError for what
    `count_examples` refuses and for NaN or inf, naming leaf and first row.
    """
    count_examples(data)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _check_leaf(name + jax.tree_util.keystr(path), leaf), data
    )


def _check_leaf(name: str, leaf: Any) -> Array:
    array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise TypeError(
            f"data must be numbers; got {name} of {array.dtype}. Encode text as numbers first."
        )
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(
            f"data must be real; got {name} of {array.dtype}. Pass real and imaginary parts as "
            "two features."
        )
    if 0 in array.shape[1:]:
        raise ValueError(f"examples must not be empty; got {name} of shape {array.shape}.")
    given, array = array, jnp.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.integer) and (np.asarray(array) != given).any():
        raise ValueError(
            f"integers must fit into {array.dtype}; got {name} of {given.dtype} with larger ones. "
            "Convert them to floats, or use JAX's 64-bit mode."
        )
    if jnp.issubdtype(array.dtype, jnp.floating):
        finite = np.asarray(jnp.isfinite(array).reshape(len(array), -1).all(axis=1))
        if not finite.all():
            raise ValueError(
                f"data must be finite; got NaN or inf in {len(finite) - finite.sum()} rows of "
                f"{name}, first in row {np.argmin(finite)}. Remove or impute them."
            )
    return array


def check_like(validation: PyTree, data: PyTree) -> PyTree:
    """The validation data, if an example of it has the structure and shapes of one of data."""

    def form(tree: PyTree) -> Any:
        return jax.tree.map(lambda leaf: (leaf.shape[1:], str(leaf.dtype)), tree)

    if form(validation) != form(data):
        raise ValueError(
            "validation must look like data but for its number of rows; got "
            f"{form(validation)} with data {form(data)} (shapes of one example)."
        )
    return validation


def check_loss(loss: Callable[[Any, Any], Any], params: PyTree, data: PyTree) -> None:
    """Raise unless the loss of one example is one real floating-point number."""
    example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), data)
    value = jax.eval_shape(loss, params, example)
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape != ():
        raise ValueError(
            "loss(params, example) must return a scalar for one example; got "
            f"{getattr(value, 'shape', type(value).__name__)} for an example of shapes "
            f"{jax.tree.map(lambda a: a.shape, example)}. Reduce it, or give labels the shape (n,)."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"the loss must be floating point; got {value.dtype}. Convert its input.")


def check_optimizer(optimizer: Optimizer, params: PyTree) -> None:
    """Raise unless an update keeps the shape and dtype of every leaf of params and state."""

    def update(params: PyTree) -> tuple[Any, Any]:
        state = optimizer.init(params)
        tx = optax.with_extra_args_support(optimizer)
        value = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        updates, new_state = tx.update(
            params, state, params, value=value, grad=params, value_fn=lambda _: value
        )
        return (params, state), (optax.apply_updates(params, updates), new_state)

    before, after = jax.eval_shape(update, jax.tree.map(jnp.asarray, params))
    if str(jax.tree.structure(before)) != str(jax.tree.structure(after)):
        raise TypeError("an update must keep the structure of the optimizer's state; it does not.")
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            where = "params" if path[0].idx == 0 else "optimizer state"
            raise TypeError(
                f"an update must keep shapes and dtypes; {where}{jax.tree_util.keystr(path[1:])} "
                f"went from {old.dtype}{list(old.shape)} to {new.dtype}{list(new.shape)}. "
                "Give the learning rate as a Python float."
            )
