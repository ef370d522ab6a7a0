"""Rows visited in an order, a batch at a time, and an epoch cut into segments."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from jaxgd.inputs import check_batch_size, count_examples
from jaxgd.layouts import Layout, check_layout, one_by_one, rows_of, slice_of
from jaxgd.machine import GATHER_BYTES, ROW_GATHER_BYTES, SEGMENT_BYTES, SEGMENT_ROWS

Rows = Int[Array, "m"] | None
Fold = Callable[[Any, PyTree], tuple[Any, PyTree]]


def gather(data: PyTree, rows: Int[Array, "..."], layout: Layout = None) -> PyTree:
    """The rows of data with these numbers, clamped at either end, on a mesh if the layout says."""
    return jax.tree.map(lambda a: rows_of(jnp.asarray(a), rows, layout), data)


def scan_batches(
    update: Fold, carry: Any, data: PyTree, rows: Rows, batch_size: int, layout: Layout = None
) -> tuple[Any, list[PyTree]]:
    """Fold `update(carry, batch) -> (carry, out)` over batches of rows, one after another.

    Batch j is data[rows[j b : (j+1) b]], or for `rows=None` data[j b : (j+1) b]; the last is the
    m mod b rows that remain, if any. Returns the carry, and both sizes' outs, stacked.
    """
    check_layout(layout, batch_size, data)
    b, m = batch_size, count_examples(data) if rows is None else rows.size
    full, parts = m // b, list[PyTree]()
    if full or not m:
        if rows is None:
            carry, parts = _scan_lying(update, carry, data, full, b, layout)
        else:
            batches = rows[: full * b].reshape(full, b)
            carry, parts = _scan_gathered(update, carry, data, batches, layout)
    if full * b < m:
        short = jnp.arange(full * b, m) if rows is None else rows[full * b :]
        carry, out = update(carry, gather(data, short, layout))
        parts.append(jax.tree.map(lambda a: jnp.asarray(a)[None], out))
    return carry, parts


def scan_rows(update: Fold, carry: Any, data: PyTree, rows: Rows) -> tuple[Any, PyTree]:
    """Fold `update(carry, example) -> (carry, out)` over single rows, one after another.

    As `scan_batches` of one row each, but an example has no axis of rows; outs are stacked.
    """
    layout = one_by_one(data)
    if rows is None and layout is None:
        return jax.lax.scan(update, carry, data)
    every = jnp.arange(count_examples(data)) if rows is None else rows
    carry, parts = _scan_gathered(update, carry, data, every, layout)
    return carry, jax.tree.map(lambda *outs: jnp.concatenate(outs), *parts)


def plan(data: PyTree, batch_size: int, length: int | None = None) -> tuple[slice, ...]:
    """The segments of an epoch: slices of its order of `length` rows, by default all n.

    Bits belong to an executable: XLA compiles a loop of one trip otherwise than one of many. So a
    run that is to end in the same bits, however often it was stopped, streamed or resumed, makes
    its updates in these segments, `epoch(state, gather(data, order[segment]))`: all of one length,
    but for a longer last one, and each of at least two full batches where there are two. Where
    they lie is a function of the data's shape and of b alone, never of a clock.
    """
    b = check_batch_size(batch_size)
    length = count_examples(data) if length is None else length
    most = min(SEGMENT_ROWS, SEGMENT_BYTES // max(1, row_bytes(data)))
    size = b * max(2, most // b)
    borders = [i * size for i in range(max(1, length // size))]
    return tuple(map(slice, borders, [*borders[1:], length]))


def even_size(n: int, most: int) -> int:
    """The size of pieces of n, at most `most`, that leaves no odd piece at the end if one can.

    The largest divisor of n above a quarter of `most`, or `most` itself: an odd piece is a program
    of its own to compile, but small pieces are slow.
    """
    most = max(1, min(n, most))
    return next((size for size in range(most, max(1, most // 4), -1) if n % size == 0), most)


def row_bytes(data: PyTree) -> int:
    """How many bytes one example of the data takes."""
    leaves = jax.tree.leaves(data)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) // count_examples(data)


def _scan_lying(
    update: Fold, carry: Any, data: PyTree, batches: int, b: int, layout: Layout
) -> tuple[Any, list[PyTree]]:
    def one(carry: Any, j: Array) -> tuple[Any, PyTree]:
        return update(carry, jax.tree.map(lambda a: slice_of(a, j * b, b, layout), data))

    carry, out = jax.lax.scan(one, carry, jnp.arange(batches, dtype=jnp.int32))
    return carry, [out]


def _scan_gathered(
    update: Fold, carry: Any, data: PyTree, rows: Int[Array, "batches *b"], layout: Layout
) -> tuple[Any, list[PyTree]]:
    """The rows of several small batches are gathered at once, which costs half as much."""
    batches, b = rows.shape[0], math.prod(rows.shape[1:])
    most = (GATHER_BYTES if rows.ndim > 1 else ROW_GATHER_BYTES) // max(1, b * row_bytes(data))
    ahead = even_size(batches, most)
    grouped = batches - batches % ahead

    def group(carry: Any, rows: Int[Array, "ahead *b"]) -> tuple[Any, PyTree]:
        return jax.lax.scan(update, carry, gather(data, rows, layout))

    carry, out = jax.lax.scan(group, carry, rows[:grouped].reshape(-1, ahead, *rows.shape[1:]))
    parts = [jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)]
    if grouped < batches:
        carry, out = group(carry, rows[grouped:])
        parts.append(out)
    return carry, parts
