"""What a part of the work on a batch is: some of its rows, and the mean of a function over them.

The function is `fn((examples, counted))`, a mean over examples to which those that are not counted
add zero. A share is the sum over the part's examples, divided by the number of slots that a part
has; the parts of a batch hold each of its rows once. An example that is not counted is one of the
batch's own, or of the data's where all rows are visited: it is as finite as they are.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from jaxgd.batches import gather
from jaxgd.inputs import count_examples
from jaxgd.layouts import zeros_like

Batch = tuple[PyTree, Bool[Array, "slots"]]
OfBatch = Callable[[Batch], PyTree]
OfPart = Callable[[Array], PyTree]


def of_whole_rows(
    fn: OfBatch, data: PyTree, rows: Int[Array, "b"] | None, parts: int
) -> tuple[OfPart, int]:
    """The share of a part, and its slots, where the device holds all of the data.

    A part has the rows at positions [part · slots, (part + 1) · slots) of the batch.
    """
    size = count_examples(data) if rows is None else rows.size
    slots = -(-size // parts)
    examples = (
        partial(_lying, data, slots) if rows is None else partial(_in_turn, data, rows, slots)
    )
    return lambda part: fn(examples(part)), slots


def of_owned_rows(
    fn: OfBatch,
    data: PyTree,
    n: int,
    rows: Int[Array, "b"] | None,
    parts: int,
    parts_each: int,
    first: Array,
) -> tuple[OfPart, int]:
    """The share of a part, and its slots, where the device holds so many parts from `first` on.

    A part has the rows [part · held, (part + 1) · held) of the data, as far as they are below n and
    in the batch. Those of a mini-batch are taken as many at a time as a part rarely exceeds, three
    deviations above the mean, until none is left.
    """
    held = count_examples(data) // parts_each
    if rows is None:
        return lambda part: fn(_held(data, n, held, first, part)), held
    mean = rows.size / parts
    slots = min(rows.size, math.ceil(mean + 3 * math.sqrt(mean)))
    return partial(_in_passes, fn, data, rows, slots, held, first), slots


def _in_turn(data: PyTree, rows: Int[Array, "b"], slots: int, part: Array) -> Batch:
    at = part * slots + jnp.arange(slots, dtype=jnp.int32)
    return gather(data, rows[jnp.minimum(at, rows.size - 1)]), at < rows.size


def _lying(data: PyTree, slots: int, part: Array) -> Batch:
    """The rows are read where they lie: a slice that would reach past the end begins earlier."""
    start = jnp.minimum(part * slots, count_examples(data) - slots)
    at = start + jnp.arange(slots, dtype=jnp.int32)
    return _slice(data, start, slots), at >= part * slots


def _held(data: PyTree, n: int, held: int, first: Array, part: Array) -> Batch:
    at = part * held + jnp.arange(held, dtype=jnp.int32)
    return _slice(data, (part - first) * held, held), at < n


def _in_passes(
    fn: OfBatch,
    data: PyTree,
    rows: Int[Array, "b"],
    slots: int,
    held: int,
    first: Array,
    part: Array,
) -> PyTree:
    own = jnp.cumsum(rows // held == part, dtype=jnp.int32)
    count = own[-1]

    def add_pass(i: Array, sums: PyTree) -> PyTree:
        nth = i * slots + jnp.arange(slots, dtype=jnp.int32)
        at = jnp.searchsorted(own, jnp.minimum(nth, count - 1) + 1, method="scan_unrolled")
        batch = gather(data, rows[at] - first * held), nth < count
        return jax.tree.map(jnp.add, sums, fn(batch))

    like = jax.eval_shape(fn, (gather(data, jnp.zeros(slots, jnp.int32)), jnp.zeros(slots, bool)))
    return jax.lax.fori_loop(0, -(-count // slots), add_pass, jax.tree.map(zeros_like, like))


def _slice(data: PyTree, start: Any, size: int) -> PyTree:
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), data)
