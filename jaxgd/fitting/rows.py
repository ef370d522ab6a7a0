"""The rows that each segment of an epoch is given."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from jaxgd.batches import gather
from jaxgd.inputs import count_examples
from jaxgd.keys import Key, row_keys
from jaxgd.order import shuffle

Start = int | Int[Array, ""]


@dataclass(frozen=True)
class Rows:
    """Data in memory, shuffled anew each epoch or as they lie, each row with a key or without."""

    data: PyTree
    key: Key | None
    shuffled: bool
    keyed: bool

    def of(self, epoch: int, segment: slice) -> Any:
        """The rows of a segment of an epoch, in their order."""
        n = count_examples(self.data)
        length = segment.stop - segment.start
        if not self.shuffled and length == n and not self.keyed:
            return self.data  # read where they lie
        order = _order(self.key, epoch, n) if self.shuffled else jnp.arange(n, dtype=jnp.int32)
        if not self.keyed:
            return _rows(self.data, order, segment.start, length)
        return _keyed_rows(self.data, self.key, epoch, order, segment.start, length)


@partial(jax.jit, static_argnames="n")
def _order(key: Key, epoch: Start, n: int) -> Int[Array, "n"]:
    return shuffle(jax.random.fold_in(key, epoch), n)


@partial(jax.jit, static_argnames="length")
def _rows(data: PyTree, order: Int[Array, "n"], start: Start, length: int) -> PyTree:
    return gather(data, jax.lax.dynamic_slice_in_dim(order, start, length))


@partial(jax.jit, static_argnames="length")
def _keyed_rows(
    data: PyTree, key: Key, epoch: Start, order: Int[Array, "n"], start: Start, length: int
) -> tuple[PyTree, Array]:
    rows = jax.lax.dynamic_slice_in_dim(order, start, length)
    return gather(data, rows), row_keys(jax.random.fold_in(key, epoch), rows)
