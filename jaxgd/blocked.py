"""Exact per-example SGD of linear predictors, a block of rows at a time.

For a linear predictor the gradient of one example is g x, with g = d loss / d logit a scalar.
Within a block of k rows that start from weights w and bias b, with decay ρ = 1 - lr λ, the logit
of row i is

    z_i = ρ^i (x_iᵀw + b) - lr Σ_{j<i} ρ^(i-1-j) g(z_j) (x_iᵀx_j + 1)

so one Gram matrix and a strictly triangular system in k scalars take the place of k dependent
passes over w. The same rows in the same order give the same updates as `jaxgd.sgd`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PyTree, Real

from jaxgd.batches import even_size, scan_batches
from jaxgd.descent import Epoch, Losses, Order, State
from jaxgd.inputs import check_count, check_order, count_examples
from jaxgd.objective import wide

LinkLoss = Callable[[Any, Any], Array]
Slope = Callable[[Array, Array], Array]

# Measured by `python -m benchmarks sgd`. XLA's CPU compiler makes one kernel of a loop whose body
# touches less than about a kilobyte and dispatches every operation of any other, ten times slower.
# By itemsize, so many features still fit; a longer row is taken in parts by loops inside, and with
# those there is room for fewer. Where dispatching no longer counts for much, short blocks win.
_CPU_ROW = {4: 36, 8: 16}
_CPU_PART = {4: 25, 8: 8}
_CPU_FEATURES_IN_ORDER = 400
_CPU_BLOCK = 8

# A sum waits for each addition before the next: a few sums side by side, a power of two, do not.
_LANES = 4

# Rows in order are gathered ahead of their use: one by one each would wait for memory. XLA does it
# on all cores, and handing over to them costs as much as fifty updates: many are taken at once.
_GATHER_BYTES = 2**22

# An accelerator's step costs microseconds whatever is in it; a Gram matrix of this size is nothing.
_ACCELERATOR_BLOCK = 64


def blocked_sgd(
    link_loss: LinkLoss,
    learning_rate: Real[ArrayLike, ""] | optax.Schedule,
    *,
    l2: Real[ArrayLike, ""] = 0.0,
    block_size: int | None = None,
) -> Epoch:
    """An epoch of per-example SGD of a linear predictor: `epoch(state, (x, y), order)`.

        z = xᵀw + b,   g = d link_loss(z, y) / dz
        w <- w - lr (g x + λ w),   b <- b - lr (g + λ b)

    The n updates that `sgd` makes, to rounding, in ⌈n / block_size⌉ dependent steps instead of n:
    the same `State` in and out (the optimizer's state passes through untouched), the same order,
    the same losses, each before its update. `state.params` is `Linear(w [d], b [])` or any other
    pair, data is (x [n, d], y [n]). `link_loss(logit, label)` is the loss of one logit, and must be
    differentiable by JAX. The learning rate and `l2` may be traced values.

    A block's logits are iterated, all at once, until they stand still: at most block_size times,
    because each pass settles at least one more row, and far fewer as a rule (6 for 8 rows, 13 for
    64, by `python -m benchmarks depth`). `block_size=1` takes the rows in order. The default is
    what measured fastest on a CPU, 1 for up to 400 features and 8 for more; elsewhere it is 64.
    Rows in order are copied 4 MB at a time, for every order anew where orders are vmapped.

    Raises TypeError or ValueError while tracing for a schedule, other params or other data.
    Departs from optax.chain(add_decayed_weights(l2), sgd(learning_rate)) in `jaxgd.sgd`, and from
    torch.optim.SGD(weight_decay=l2): nothing beyond rounding. Departs from scikit-learn's
    SGDClassifier(alpha=l2): the bias decays too.
    """
    if callable(learning_rate):
        raise TypeError(
            "learning_rate must be a number or a scalar array; got a schedule. "
            "Use sgd(loss, optax.sgd(schedule)) instead."
        )
    if block_size is not None:
        block_size = check_count("block_size", block_size)
    slope = jax.grad(link_loss)

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Losses]:
        x, y = _check_data(data)
        w, b = _check_params(state.params, x)
        n, d = x.shape
        rows = check_order(order, n).astype(jnp.int32)
        rate = jnp.asarray(learning_rate, w.dtype)
        decay = 1 - rate * jnp.asarray(l2, w.dtype)
        k = block_size or _default_block(d)
        solve = partial(_in_order if k == 1 else _block, slope, rate, decay)
        rows_ahead = even_size(n, _GATHER_BYTES // max(1, d * x.dtype.itemsize))
        group = rows_ahead if k == 1 else min(k, n)
        (w, b), logits = scan_batches(solve, (w, b), (x, y), rows, group)
        losses = jax.vmap(link_loss)(logits, jnp.take(y, rows, mode="clip"))
        params = jax.tree.unflatten(jax.tree.structure(state.params), (w, b))
        return state._replace(params=params, epoch=state.epoch + 1), losses

    return epoch


Weights = tuple[Float[Array, "d"], Float[Array, ""]]
Data = tuple[Float[Array, "n d"], Array]
Index = Array | np.int32


def _in_order(
    slope: Slope, rate: Array, decay: Array, weights: Weights, data: Data
) -> tuple[Weights, Float[Array, "k"]]:
    """The k rows one after another, in a loop small enough for XLA to make one kernel of it."""
    x, y = data
    k, d = x.shape
    size = _part_of_a_row(d, x.dtype)
    parts = -(-d // size)
    # Columns of zeros make the parts equal: a smaller last one would be too much for one kernel.
    padding = parts * size - d
    x = jnp.pad(x, ((0, 0), (0, padding))) if padding else x

    def over_parts(fn: Callable[[Array, Index], Array], carry: Array) -> Array:
        if parts == 1:
            return fn(carry, np.int32(0))
        return jax.lax.fori_loop(
            np.int32(0), np.int32(parts), lambda i, c: fn(c, i * np.int32(size)), carry
        )

    def update(weights: Weights, row: Array) -> tuple[Weights, Array]:
        w, b = weights

        def x_part(start: Index) -> Array:
            return _slice(x, (row, start), (1, size))[0]

        def add_dot(z: Array, start: Index) -> Array:
            return z + _dot_in_lanes(x_part(start), _slice(w, (start,), (size,)))

        z = over_parts(add_dot, b)
        g = rate * slope(z, _slice(y, (row,), (1,))[0])

        def move(w: Array, start: Index) -> Array:
            part = decay * _slice(w, (start,), (size,)) - g * x_part(start)
            return jax.lax.dynamic_update_slice(w, part, (start,), allow_negative_indices=False)

        return (over_parts(move, w), decay * b - g), z

    w, b = weights
    rows = jnp.arange(k, dtype=jnp.int32)
    (w, b), logits = jax.lax.scan(update, (jnp.pad(w, (0, padding)), b), rows)
    return (w[:d], b), logits


def _part_of_a_row(d: int, dtype: Any) -> int:
    """How many features to take at a time: equal parts if there are any, as padding is a copy."""
    itemsize = max(4, dtype.itemsize)
    if d <= _CPU_ROW[itemsize]:
        return d
    size = even_size(d, _CPU_PART[itemsize])
    return size if d % size == 0 else -(-d // -(-d // size))


def _dot_in_lanes(a: Float[Array, "d"], b: Float[Array, "d"]) -> Float[Array, ""]:
    """A dot product as a few sums side by side, none of which waits for the others."""
    products = jnp.pad(wide(a) * wide(b), (0, -a.size % _LANES))
    sums = list(jnp.sum(products.reshape(-1, _LANES), axis=0))
    while len(sums) > 1:
        sums = [left + right for left, right in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0].astype(a.dtype)


def _block(
    slope: Slope, rate: Array, decay: Array, weights: Weights, data: Data
) -> tuple[Weights, Float[Array, "k"]]:
    """The weights after the k rows of one block, and each row's logit before its update."""
    (w, b), (x, y) = weights, data
    k = y.size
    # ρ^0 … ρ^k as products, which holds for a decay of zero or below as well.
    powers = jnp.cumprod(jnp.full(k + 1, decay).at[0].set(1))
    lag = jnp.arange(k)[:, None] - 1 - jnp.arange(k)[None, :]
    coupling = rate * powers[jnp.maximum(lag, 0)] * (_dot(x, x.T) + 1)

    def logits_from(z: Array) -> Array:
        # Masked after the product: while rows are unsettled g may be infinite, and 0 · ∞ is NaN.
        pull = jnp.where(lag >= 0, coupling * jax.vmap(slope)(z, y)[None, :], 0)
        return start - jnp.sum(pull, axis=1)

    start = powers[:k] * (_dot(x, w) + b)
    z, _ = _standstill(logits_from, start)
    pull = rate * powers[:k][::-1] * jax.vmap(slope)(z, y)
    return (powers[k] * w - _dot(pull, x), powers[k] * b - jnp.sum(pull)), z


def _standstill(
    fn: Callable[[Array], Array], z: Float[Array, "k"]
) -> tuple[Float[Array, "k"], Int[Array, ""]]:
    """The fixed point of a map whose row i depends on the rows before i only, and the passes taken.

    Pass i settles row i for good, so that k - 1 passes are enough from any start; NaN never equals
    itself and takes them all.
    """
    k = z.size

    def moving(carry: tuple[Array, Array, Array]) -> Array:
        _, moved, passes = carry
        return moved & (passes < k)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, _, passes = carry
        new = fn(z)
        return new, jnp.any(new != z), passes + 1

    z, _, passes = jax.lax.while_loop(moving, again, (z, jnp.bool_(True), jnp.int32(0)))
    return z, passes


def _dot(a: Array, b: Array) -> Array:
    """A product in the arrays' own precision; accelerators would round its terms to fewer bits."""
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _slice(array: Array, start: tuple[Index, ...], sizes: tuple[int, ...]) -> Array:
    return jax.lax.dynamic_slice(array, start, sizes, allow_negative_indices=False)


def _default_block(d: int) -> int:
    if jax.default_backend() != "cpu":
        return _ACCELERATOR_BLOCK
    return 1 if d <= _CPU_FEATURES_IN_ORDER else _CPU_BLOCK


def _check_data(data: PyTree) -> Data:
    """The pair (x [n, d], y [n]) of floating-point rows and one label each."""
    if isinstance(data, tuple | list) and len(data) == 2:
        count_examples(data)
        x, y = (jnp.asarray(leaf) for leaf in data)
        if x.ndim == 2 and y.ndim == 1 and jnp.issubdtype(x.dtype, jnp.floating):
            return x, y
    raise ValueError(
        "blocked_sgd takes data (x [n, d] of a float dtype, y [n]); "
        f"got {jax.tree.map(jax.typeof, data)}. Use sgd for other data."
    )


def _check_params(params: PyTree, x: Array) -> Weights:
    """The pair (w [d], b []) in the dtype of x."""
    if isinstance(params, tuple) and len(params) == 2:
        w, b = (jnp.asarray(leaf) for leaf in params)
        if w.shape == x.shape[1:] and b.shape == () and w.dtype == b.dtype == x.dtype:
            return w, b
    raise ValueError(
        "blocked_sgd takes params (w [d], b []) in the dtype of x; "
        f"got {jax.tree.map(jax.typeof, params)} with x of {jax.typeof(x)}. "
        "Use sgd for other models."
    )
