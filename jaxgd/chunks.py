"""A mean over rows taken a chunk at a time, so that each is read from memory once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgd.batches import even_size, row_bytes
from jaxgd.inputs import count_examples
from jaxgd.machine import CACHE_BYTES, CHUNK_BYTES


def in_chunks(fn: Callable[[PyTree], PyTree], data: PyTree, chunk: int | None) -> PyTree:
    """The mean of `fn` over rows, for an fn that is a mean over the rows it is given."""
    n = count_examples(data)
    if chunk is None or chunk >= n:
        return fn(data)

    def part(rows: PyTree) -> PyTree:
        """These rows' share of the result: their mean, times their fraction of all rows."""
        share = count_examples(rows) / n
        return jax.tree.map(lambda a: share * wide(a), fn(rows))

    @jax.checkpoint  # differentiated, it keeps no chunk's rows or activations
    def add_chunk(i: Array, sums: PyTree) -> PyTree:
        rows = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk), data)
        return jax.tree.map(jnp.add, sums, part(rows))

    full, rest = divmod(n, chunk)
    like = jax.eval_shape(fn, data)
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
    return None if n * size <= CACHE_BYTES else even_size(n, CHUNK_BYTES // size)
