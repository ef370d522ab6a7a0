"""Rows visited in an order, a batch at a time."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from jaxgd.inputs import count_examples

Carry = TypeVar("Carry")

# Measured by `python -m benchmarks.experiments`: small batches share one gather of this many bytes,
# which stay in a core's cache until their turn. Fewer and the gathers cost more than the updates.
_GATHER_BYTES = 2**17


def scan_batches(
    update: Callable[[Carry, PyTree], tuple[Carry, Array]],
    carry: Carry,
    data: PyTree,
    rows: Int[Array, "n"],
    batch_size: int,
) -> tuple[Carry, Array]:
    """Fold `update(carry, batch) -> (carry, out[k])` over batches of rows, one after another.

    Batch j is data[rows[j b : (j+1) b]]; the last is the n mod b rows that remain, if any. Row
    numbers past either end are clamped. Returns the carry and all outs joined.
    """
    b, n = batch_size, rows.size
    full = n // b
    ahead = even_size(full, _GATHER_BYTES // max(1, b * row_bytes(data)))
    grouped = full - full % ahead

    def gather(rows: Int[Array, "..."]) -> PyTree:
        return jax.tree.map(lambda a: jnp.take(a, rows, axis=0, mode="clip"), data)

    def group(carry: Carry, rows: Int[Array, "batches b"]) -> tuple[Carry, Array]:
        return jax.lax.scan(update, carry, gather(rows))

    batches = rows[: full * b].reshape(full, b)
    carry, out = jax.lax.scan(group, carry, batches[:grouped].reshape(-1, ahead, b))
    outs = [out]
    if grouped < full:
        carry, out = group(carry, batches[grouped:])
        outs.append(out)
    if full * b < n:
        carry, out = update(carry, gather(rows[full * b :]))
        outs.append(out)
    return carry, jnp.concatenate([out.reshape(-1) for out in outs])


def even_size(n: int, most: int) -> int:
    """The size of pieces of n, at most `most`, that leaves no odd piece at the end if one can.

    The largest divisor of n above a quarter of `most`, or `most` itself: an odd piece is a program
    of its own to compile, but small pieces are slow.
    """
    most = max(1, min(n, most))
    return next((size for size in range(most, max(1, most // 4), -1) if n % size == 0), most)


def row_bytes(data: PyTree) -> int:
    """How many bytes one example of the data takes."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(data)) // count_examples(data)
