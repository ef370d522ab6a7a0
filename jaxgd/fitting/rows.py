"""The rows that each segment of an epoch is given."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from jaxgd.batches import gather
from jaxgd.host_order import HostOrder, as_they_lie, host_shuffle
from jaxgd.inputs import count_spread
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
        n = count_spread(self.data)
        length = segment.stop - segment.start
        if not self.shuffled and length == n and not self.keyed:
            return self.data  # read where they lie
        key = self.key if self.shuffled else None
        numbers = _numbers(key, epoch, n, segment.start, length)
        rows = _gathered(self.data, numbers)
        return (rows, _row_keys(self.key, epoch, numbers)) if self.keyed else rows

    def form(self, length: int) -> Any:
        """The shapes and dtypes of a segment of so many rows."""
        return jax.eval_shape(lambda: self.of(0, slice(0, length)))

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held: the data are the caller's."""

    def numbers(self, epoch: int, positions: slice) -> np.ndarray:
        """The numbers of the rows at these positions of an epoch's order."""
        return _at(self.order(epoch), positions)

    def order(self, epoch: int) -> HostOrder:
        """The rows at any positions of an epoch's order, on the host."""
        return _on_host(self.key, epoch, count_spread(self.data), self.shuffled)


class Visit(NamedTuple):
    """Data that stay where they lie, and the order of some of their rows; None for all of them."""

    data: PyTree
    order: Any  # int32[rows]


@dataclass(frozen=True)
class Lying:
    """Data that lie on the devices of a mesh: a segment is the numbers of its rows."""

    data: PyTree
    key: Key | None
    shuffled: bool
    whole: bool  # full-batch descent takes no order

    def of(self, epoch: int, segment: slice) -> Visit:
        """The data, and the order of a segment of an epoch."""
        return Visit(self.data, None if self.whole else self.numbers(epoch, segment))

    def form(self, length: int) -> Visit:
        """The shapes and dtypes of a segment of so many rows."""
        order = None if self.whole else jax.ShapeDtypeStruct((length,), jnp.int32)
        return Visit(self.data, order)

    def __enter__(self) -> "Lying":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held: the data are the caller's."""

    def numbers(self, epoch: int, positions: slice) -> np.ndarray:
        """The numbers of the rows at these positions of an epoch's order."""
        return _at(self.order(epoch), positions)

    def order(self, epoch: int) -> HostOrder:
        """The rows at any positions of an epoch's order, on the host."""
        return _on_host(self.key, epoch, count_spread(self.data), self.shuffled)


def _at(order: HostOrder, positions: slice) -> np.ndarray:
    return order(np.arange(positions.start, positions.stop, dtype=np.int32))


def _on_host(key: Any, epoch: int, n: int, shuffled: bool) -> HostOrder:
    return host_shuffle(jax.random.fold_in(key, epoch), n) if shuffled else as_they_lie


# A program of its own: XLA would fuse it into the gather, and draw a row's number again for each of
# its cells.
@partial(jax.jit, static_argnames=("n", "length"))
def _numbers(
    key: Key | None, epoch: Start, n: int, start: Start, length: int
) -> Int[Array, "rows"]:
    """The rows at `length` positions of an epoch's order, as they lie if it has no key."""
    positions = start + jnp.arange(length, dtype=jnp.int32)
    return positions if key is None else shuffle(jax.random.fold_in(key, epoch), n, positions)


_gathered = jax.jit(gather)


@jax.jit
def _row_keys(key: Key, epoch: Start, numbers: Int[Array, "rows"]) -> Array:
    return row_keys(jax.random.fold_in(key, epoch), numbers)
