"""The mean loss over rows and its gradient, whole or a chunk of rows at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.batches import even_size, row_bytes
from jaxgd.inputs import count_examples

Loss = Callable[[Any, Any], Array]

# Measured by `python -m benchmarks.experiments`: data of this size stay in cache from one epoch to
# the next, and chunks of this size are read from memory once.
_CACHE_BYTES = 16 * 2**20
_CHUNK_BYTES = 6 * 2**20


def mean_loss(loss: Loss, params: PyTree, data: PyTree) -> Float[Array, ""]:
    """The objective of a batch: 1/n Σ_i loss(params, data_i)."""
    return jnp.mean(_losses(loss, params, data))


def value_and_grad(
    loss: Loss, params: PyTree, data: PyTree, chunk: int | None = None
) -> tuple[Float[Array, ""], PyTree]:
    """The mean loss of n rows and its gradient with respect to params.

        Σ_c n_c/n · 1/n_c Σ_{i in chunk c} (loss_i, ∇loss_i),   n_c rows in chunk c

    With `chunk` rows at a time every row is read from memory once (its second use finds it in
    cache) and the working set is that of `chunk` rows, not of n; the result is the same to
    rounding, half precision being added up in float32. `chunk=None` takes all rows at once.
    """
    n = count_examples(data)
    if chunk is None or chunk >= n:
        return jax.value_and_grad(lambda p: mean_loss(loss, p, data))(params)

    def part(rows: PyTree) -> tuple[Array, PyTree]:
        """These rows' share of the result: their mean, times their fraction of all rows."""
        share = count_examples(rows) / n
        value = jax.value_and_grad(lambda p: mean_loss(loss, p, rows))(params)
        return jax.tree.map(lambda a: share * wide(a), value)

    def add_chunk(i: Array, sums: PyTree) -> PyTree:
        rows = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk), data)
        return jax.tree.map(jnp.add, sums, part(rows))

    full, rest = divmod(n, chunk)
    like = jax.eval_shape(jax.value_and_grad(lambda p: mean_loss(loss, p, data)), params)
    zeros = jax.tree.map(lambda a: wide(jnp.zeros(a.shape, a.dtype)), like)
    sums = jax.lax.fori_loop(0, full, add_chunk, zeros)
    if rest:
        last = jax.tree.map(lambda a: a[full * chunk :], data)
        sums = jax.tree.map(jnp.add, sums, part(last))
    return jax.tree.map(lambda s, a: s.astype(a.dtype), sums, like)


def wide(array: Array) -> Array:
    """The array in float32 at least: a sum over chunks must not lose what half precision holds."""
    return array.astype(jnp.float32) if jnp.finfo(array.dtype).bits < 32 else array


def rows_in_cache(data: PyTree) -> int | None:
    """How many rows to work on at a time: what a CPU core's cache holds, None for all at once.

    Several devices may hold a part of the rows each, and slicing across parts would move them, so
    there, and on accelerators, it is all at once.
    """
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return None
    n, size = count_examples(data), row_bytes(data)
    return None if n * size <= _CACHE_BYTES else even_size(n, _CHUNK_BYTES // size)


def _losses(loss: Loss, params: PyTree, data: PyTree) -> Float[Array, "n"]:
    return jax.vmap(loss, in_axes=(None, 0))(params, data)
