"""A mean over rows taken a chunk at a time, so that each is read from memory once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgd.batches import even_size, row_bytes
from jaxgd.inputs import check_count, count_examples
from jaxgd.layouts import on_several_devices, zeros_like
from jaxgd.machine import CACHE_BYTES, CHUNK_BYTES, KEPT_BYTES

OfRows = Callable[[Any, Any], Any]


def in_chunks(fn: OfRows, chunk: int | None) -> OfRows:
    """The same function of (params, rows), a mean over the rows, worked out a chunk at a time.

        Σ_c n_c/n · fn(params, chunk c),   n_c rows in chunk c

    For an objective and for its `jax.value_and_grad`. With `chunk` rows at a time every row is read
    from memory once (its second use finds it in cache) and the working set is that of `chunk` rows,
    not of n; the result is the same to rounding, half precision being added up in float32.
    `chunk=None` takes all rows at once.
    """
    if chunk is None:
        return fn
    chunk = check_count("chunk", chunk)

    def chunked(params: PyTree, data: PyTree) -> PyTree:
        n = count_examples(data)
        if chunk >= n:
            return fn(params, data)

        def part(rows: PyTree) -> PyTree:
            """These rows' share of the result: their mean, times their fraction of all rows."""
            share = count_examples(rows) / n
            return jax.tree.map(lambda a: share * wide(a), fn(params, rows))

        @jax.checkpoint  # differentiated, it keeps no chunk's rows or activations
        def add_chunk(i: Array, sums: PyTree) -> PyTree:
            rows = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk), data)
            return jax.tree.map(jnp.add, sums, part(rows))

        full, rest = divmod(n, chunk)
        like = jax.eval_shape(fn, params, data)
        zeros = jax.tree.map(lambda a: wide(zeros_like(a)), like)
        sums = jax.lax.fori_loop(0, full, add_chunk, zeros)
        if rest:
            last = jax.tree.map(lambda a: a[full * chunk :], data)
            sums = jax.tree.map(jnp.add, sums, part(last))
        return jax.tree.map(lambda s, a: s.astype(a.dtype), sums, like)

    return chunked


def wide(array: Array) -> Array:
    """The array in float32 at least: a sum over chunks must not lose what half precision holds."""
    return array.astype(jnp.float32) if jnp.finfo(array.dtype).bits < 32 else array


def in_default_chunks(
    objective: OfRows, derived: Callable[[OfRows], OfRows] = lambda objective: objective
) -> OfRows:
    """The objective, or what `derived` makes of it, in chunks of the machine's kind.

    On a CPU a chunk is as many rows as its cache holds, elsewhere as many as keep `KEPT_BYTES` of
    activations; all rows are taken at once where they are no more. It is the platform compiled for
    that counts, not the one that the program is made on. Where the data's types say that several
    devices may hold a part of the rows each, slicing across parts would move them: then it is all
    at once too.
    """
    fn = derived(objective)

    def chunked(params: PyTree, data: PyTree) -> PyTree:
        if on_several_devices(data):
            return fn(params, data)
        cached, kept = rows_in_cache(data), _rows_kept(objective, params, data)
        if cached is None and kept is None:
            return fn(params, data)
        of_cpu, of_others = in_chunks(fn, cached), in_chunks(fn, kept)
        return jax.lax.platform_dependent(params, data, cpu=of_cpu, default=of_others)

    return chunked


def rows_at_a_time(data: PyTree) -> int | None:
    """How many rows runs side by side take at a time, each run with activations of its own.

    As many as a CPU's cache holds, on every platform; None, for all, where it holds them all, or
    where several devices may hold a part of the rows each.
    """
    return None if on_several_devices(data) else rows_in_cache(data)


def rows_in_cache(data: PyTree) -> int | None:
    """How many rows a CPU's cache holds of data too large for it; None where they all fit."""
    n, size = count_examples(data), row_bytes(data)
    return None if n * size <= CACHE_BYTES else even_size(n, CHUNK_BYTES // size)


def _rows_kept(objective: OfRows, params: PyTree, data: PyTree) -> int | None:
    """How many rows keep `KEPT_BYTES` of activations; None where all keep no more.

    Rows a thousand times smaller are not traced for it.
    """
    n = count_examples(data)
    if n * row_bytes(data) <= KEPT_BYTES >> 10:
        return None
    size = _kept_bytes(objective, params, data)
    return None if size <= KEPT_BYTES else even_size(n, n * KEPT_BYTES // size)


def _kept_bytes(objective: OfRows, params: PyTree, data: PyTree) -> int:
    """What the objective keeps to be differentiated, beside the params and rows themselves."""

    def kept(params: PyTree, data: PyTree) -> list[Array]:
        return jax.tree.leaves(jax.vjp(lambda p: objective(p, data), params)[1])

    traced = jax.make_jaxpr(kept)(params, data).jaxpr
    kept_ones = set(map(id, traced.outvars))
    made = [v.aval for e in traced.eqns for v in e.outvars if id(v) in kept_ones]
    return sum(a.size * a.dtype.itemsize for a in made)
