"""What `fit` may be given. Each check names the rule, what was given and the remedy."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, PyTree

from jaxgd.descent import Epoch, State, descend
from jaxgd.fitting.history import Position
from jaxgd.inputs import Optimizer, Padded, alike, check_params, count_examples
from jaxgd.precision import Precision, in_precision
from jaxgd.scale.epochs import DataParallel
from jaxgd.stopping import Patience, check_patience
from jaxgd.streaming import Source

OnDivergence = Literal["raise", "stop", "skip"]


def check_on_divergence(given: Any, epoch: Any) -> None:
    """ValueError unless it is one of the three, and one that can be done."""
    if given not in get_args(OnDivergence):
        raise ValueError(f'on_divergence must be "raise", "stop" or "skip"; got {given!r}.')
    if given == "skip" and epoch is not None:
        raise ValueError(
            "updates are skipped in the optimizer, which an epoch of one's own may not ask; got "
            'on_divergence="skip" with epoch=. Use "stop", or leave the epoch out.'
        )


def check_waits(given: Any, validation: Any) -> Patience | None:
    """The patience, None for none; ValueError where there is no loss that it could watch."""
    if given is None:
        return None
    patience = check_patience(given)
    if validation is None:
        raise ValueError(
            "patience waits for a validation loss; got no validation. Pass rows held out as "
            "validation=."
        )
    return patience


def form(params: PyTree) -> str:
    """The leaves of params with their dtypes and shapes, as an error names them."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = ((jax.tree_util.keystr(path), leaf) for path, leaf in leaves)
    return ", ".join(f"params{name} {leaf.dtype}{list(leaf.shape)}" for name, leaf in named)


def check_read(source: Source, batch_size: int | None) -> Source:
    """The source; ValueError for full-batch descent, which would need all of its rows at once."""
    if batch_size is None:
        raise ValueError(
            "rows that are read need a batch_size; got batch_size=None. Full-batch descent takes "
            "its data in memory."
        )
    return source


def check_precise(epoch: Epoch, precision: Precision) -> Epoch:
    """An epoch of one's own in that precision; ValueError where its state would be converted."""
    if precision == "bfloat16":
        raise ValueError(
            'an epoch of one\'s own takes its params as they are; got precision="bfloat16" with '
            "epoch=. Make the epoch of a loss in that precision, by jaxgd.in_precision."
        )
    return in_precision(epoch, precision)


def check_together(
    parallel: DataParallel | None, batch_size: Any, data: PyTree, reads: bool, keyed: bool
) -> None:
    """ValueError for data or options that an epoch by several devices, or another, cannot take."""
    if parallel is None:
        count_examples(data)  # refuses padded rows
        leaves: Any = jax.tree.leaves(data)
        if all(not isinstance(a, jax.Array) or a.is_fully_addressable for a in leaves):
            return
        raise ValueError(
            "rows that lie with several processes need an epoch by all of them. Use "
            "epoch=jaxgd.scale.data_parallel(…)."
        )
    if parallel.devices.rows == "whole" and isinstance(data, Padded):
        raise ValueError(
            'rows="whole" takes all rows on every device; got rows that jaxgd.scale.spread has '
            'shared out. Use rows="owned" with them.'
        )
    if parallel.batch_size != batch_size:
        raise ValueError(
            f"epoch must make the updates of batch_size; got batch_size={batch_size} with an epoch "
            f"of {parallel.batch_size}. Give both the same."
        )
    if reads or keyed:
        what = "a Source" if reads else "row_keys=True"
        raise ValueError(
            f"an epoch by several devices takes data in memory, as they are; got {what} with "
            "epoch=data_parallel(…). Use minibatch there."
        )


def check_same(marks: Mapping[str, str], parallel: Mapping[str, str]) -> None:
    """ValueError unless an epoch by several devices is of the fit's own loss and optimizer."""
    if other := [name for name, mark in parallel.items() if mark != marks[name]]:
        raise ValueError(
            f"epoch must be of the {' and the '.join(other)} of the fit; got data_parallel(…) of "
            "another. Give both the same."
        )


def check_key(key: Any) -> Array:
    """The random key, if it is one; TypeError for a bare seed."""
    if isinstance(key, jax.Array | np.ndarray) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ())
        or (key.shape, key.dtype) == ((2,), np.uint32)
    ):
        return jnp.asarray(key)
    raise TypeError(f"key must be one JAX random key; got {key!r}. Use jax.random.key(0).")


def check_finite(params: PyTree) -> None:
    """Raise TypeError for parameters that are not floating point, ValueError if not finite."""
    check_params(params)
    if not jax.tree.leaves(params) or all_finite(params):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.isfinite(jnp.asarray(leaf)).all():
            name = "params" + jax.tree_util.keystr(path)
            raise ValueError(f"parameters must be finite; got {name} with NaN or inf.")


@jax.jit
def all_finite(tree: PyTree) -> Array:
    """Whether every number of a tree is finite."""
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def check_data(name: str, data: PyTree) -> PyTree:
    """The data as arrays on the device.

    Raises TypeError for strings, objects and complex numbers, ValueError for what
    `jaxgd.inputs.count_examples` refuses and for NaN or inf, naming leaf and first row.
    """
    if isinstance(data, Source):
        raise ValueError(f"{name} must be in memory; got a Source. Read its rows: source.rows(…).")
    count_examples(data.rows if isinstance(data, Padded) else data)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _check_leaf(name + jax.tree_util.keystr(path), leaf), data
    )


def _check_leaf(name: str, leaf: Any) -> Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
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
    given, numbers = array, cast(Any, jnp)
    if not isinstance(given, jax.Array):
        numbers, array = np, _rounded(given, jax.dtypes.canonicalize_dtype(given.dtype))
    if given is not array and array.dtype.kind in "iu" and (array != given).any():
        raise ValueError(
            f"integers must fit into {array.dtype}; got {name} of {given.dtype} with larger ones. "
            "Convert them to floats, or use JAX's 64-bit mode."
        )
    if jnp.issubdtype(array.dtype, jnp.floating):
        # Looked at where the rows are: a program for it takes long to compile.
        finite: Any = numbers.isfinite(array)
        if not bool(finite.all()):
            finite = finite.reshape(len(array), -1).all(axis=1)
            here = getattr(array, "is_fully_addressable", True)
            finite = np.asarray(finite) if here else finite
            raise ValueError(
                f"data must be finite; got NaN or inf in {int((~finite).sum())} rows of "
                f"{name}, first in row {int(finite.argmin())}. Remove or impute them."
            )
    # Put, not computed: jnp.asarray compiles a program.
    return array if isinstance(array, jax.Array) else jax.device_put(array)


def _rounded(given: np.ndarray, dtype: Any) -> np.ndarray:
    """The array as it is on the device, where what is too large is infinite."""
    with np.errstate(over="ignore"):
        return given.astype(dtype, copy=False)


def rounded(given: PyTree, data: PyTree) -> str | None:
    """What to say of the first leaf of data that lost digits on its way to the device."""
    leaves = jax.tree_util.tree_leaves_with_path(given)
    for (path, before), after in zip(leaves, jax.tree.leaves(data), strict=True):
        wide = getattr(before, "dtype", None) == np.float64 and after.dtype != np.float64
        if wide and (np.asarray(after, np.float64) != before).any():
            return (
                f"data{jax.tree_util.keystr(path)} of float64 is rounded to {after.dtype}, JAX's "
                "own precision. Convert it yourself to say so, or use JAX's 64-bit mode."
            )
    return None


def check_like(validation: PyTree, data: PyTree) -> PyTree:
    """The validation data, if an example of it has the structure and shapes of one of data."""

    def form(tree: PyTree) -> Any:
        return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape[1:])}", tree)

    if not alike(form(validation), form(data)):
        raise ValueError(
            "validation must look like data but for its number of rows; got "
            f"{form(validation)} with data {form(data)} (shapes of one example)."
        )
    return validation


def check_loss(loss: Callable[[Any, Any], Any], params: PyTree, data: PyTree) -> ClosedJaxpr:
    """The traced loss of one example; raises unless it is one real floating-point number."""
    example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), data)
    # A function of its own each time: JAX would find what the same one was traced to before.
    anew = jax.make_jaxpr(lambda params, example: loss(params, example), return_shape=True)
    try:
        traced, value = anew(params, example)
    except (TypeError, ValueError) as error:
        shapes = jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", example)
        error.add_note(f"in the loss of one example {shapes} with {form(params)}")
        raise
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape != ():
        raise ValueError(
            "loss(params, example) must return a scalar for one example; got "
            f"{getattr(value, 'shape', type(value).__name__)} for an example of shapes "
            f"{jax.tree.map(lambda a: a.shape, example)}. Reduce it, or give labels the shape (n,)."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"the loss must be floating point; got {value.dtype}. Convert its input.")
    return traced


def check_optimizer(optimizer: Optimizer, params: PyTree) -> ClosedJaxpr:
    """The traced update; raises unless it keeps the shape and dtype of every leaf of the state."""

    def total(params: PyTree, _: None) -> Array:
        leaves = [jnp.sum(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(params)]
        return jnp.sum(jnp.stack(leaves))

    def update(params: PyTree) -> tuple[Any, Any]:
        state = State(params, optimizer.init(params))
        return state, descend(total, optimizer)(state, None)[0]

    traced, (before, after) = jax.make_jaxpr(update, return_shape=True)(
        jax.tree.map(jnp.asarray, params)
    )
    if str(jax.tree.structure(before)) != str(jax.tree.structure(after)):
        raise TypeError("an update must keep the structure of the optimizer's state; it does not.")
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            where = "params" if path[0].name == "params" else "optimizer state"
            raise TypeError(
                f"an update must keep shapes and dtypes; {where}{jax.tree_util.keystr(path[1:])} "
                f"went from {old.dtype}{list(old.shape)} to {new.dtype}{list(new.shape)}. "
                "Give the learning rate as a Python float."
            )
    return traced


def check_start(start: Any, segments: tuple[slice, ...], b: int) -> Position:
    """The position to begin at; ValueError unless its update is where a segment begins."""
    try:
        given = start if isinstance(start, tuple) else (start,)
        position = Position(*map(operator.index, given))
    except TypeError:
        raise TypeError(
            f"start must be an epoch or a Position of two integers; got {start!r}. "
            "Give the position of the fit to go on from."
        ) from None
    borders = [segment.start // b for segment in segments]
    if position.epoch < 0 or position.update not in borders:
        raise ValueError(
            f"start must be an epoch of at least 0 and an update of {borders}; got {position}. "
            "Give the position of the fit to go on from, with its data and batch_size."
        )
    return position


def check_epoch(result: Any, length: int, b: int) -> None:
    """Raise unless an epoch of so many rows returns a state and the losses of batch_size."""
    if not (isinstance(result, tuple) and len(result) == 2 and hasattr(result[1], "shape")):
        raise TypeError(
            "an epoch must return (state, losses[updates]); got "
            f"a {type(result).__name__}. Return each update's loss; for other outs use train."
        )
    wanted = -(-length // b)
    if result[1].shape != (wanted,):
        raise ValueError(
            f"epoch must make the updates of batch_size; got losses of shape {result[1].shape} for "
            f"{length} rows in batches of {b}, which are {wanted} updates. Pass its batch_size, "
            "such as 1 for blocked_sgd."
        )
