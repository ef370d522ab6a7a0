"""An epoch of rows that are read, in the segments of its plan."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.batches import plan
from jaxgd.descent import Epoch
from jaxgd.host_order import HostOrder, as_they_lie
from jaxgd.inputs import check_batch_size, check_count, check_untraced
from jaxgd.keys import Key
from jaxgd.keys import row_keys as keys_of_rows
from jaxgd.streaming.reading_ahead import Ahead
from jaxgd.streaming.source import Source

_keys_of = jax.jit(keys_of_rows)


@dataclass
class Reading:
    """The rows of each segment of the epochs of a run, the next few read while these are used.

    `of(epoch, segment)` places a segment's rows on the device, `numbers(epoch, positions)` tells
    which they are. It is a context, at whose end the reading ends; a ctrl-C waits for no read.
    """

    source: Source
    key: Key | None
    shuffled: bool
    keyed: bool
    segments: tuple[slice, ...]
    end: int
    prefetch: int = 2
    _orders: dict[int, HostOrder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ahead = Ahead(self._read, _placed)

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *how: Any) -> None:
        self._ahead.__exit__(*how)

    def of(self, epoch: int, segment: slice) -> Any:
        """The rows of a segment of an epoch, in their order, with a key each if they are keyed."""
        name = (epoch, segment.start, segment.stop)
        following = islice(self._after(epoch, segment), self.prefetch)
        upcoming = [(e, s.start, s.stop) for e, s in following]
        # Here, not in the thread: an order's words come from the device.
        self._orders = {e: self.order(e) for e in {epoch, *(e for e, _, _ in upcoming)}}
        rows = self._ahead.take(name, upcoming)
        if not self.keyed:
            return rows
        key: Any = self.key
        return rows, _keys_of(jax.random.fold_in(key, epoch), self.numbers(epoch, segment))

    def numbers(self, epoch: int, positions: slice) -> np.ndarray:
        """The numbers of the rows at these positions of an epoch's order."""
        return self.order(epoch)(np.arange(positions.start, positions.stop, dtype=np.int32))

    def form(self, length: int) -> Any:
        """The shapes and dtypes of a segment of so many rows."""

        def rows() -> Any:
            row = first_row(self.source)
            table = jax.tree.map(lambda a: jax.numpy.zeros((length, *a.shape[1:]), a.dtype), row)
            key: Any = self.key
            return (table, keys_of_rows(key, np.arange(length))) if self.keyed else table

        return jax.eval_shape(rows)

    def _read(self, name: tuple[int, int, int]) -> PyTree:
        epoch, start, stop = name
        return self.source.rows(self.numbers(epoch, slice(start, stop)))

    def _after(self, epoch: int, segment: slice) -> Iterator[tuple[int, slice]]:
        """The segments that follow, none for a slice that is no segment."""
        if segment in self.segments:
            rest = self.segments[self.segments.index(segment) + 1 :]
            yield from ((epoch, later) for later in rest)
            yield from ((e, s) for e in range(epoch + 1, self.end) for s in self.segments)

    def order(self, epoch: int) -> HostOrder:
        """The rows at any positions of an epoch's order."""
        if not self.shuffled:
            return as_they_lie
        if epoch in self._orders:
            return self._orders[epoch]
        key: Any = self.key
        return self.source.order(jax.random.fold_in(key, epoch), self.source.n)


def stream(
    epoch: Epoch,
    source: Source,
    batch_size: int,
    *,
    shuffle: bool = True,
    row_keys: bool = False,
    prefetch: int = 2,
) -> Callable[..., tuple[Any, PyTree]]:
    """Epochs of rows that are read as needed: `streamed(state, key, e=0) -> (state, outs)`.

    Epoch e of a run with this key, as `train` and `fit` make it: its rows come in the order
    `shuffle(fold_in(key, e), n)` and are handed to `epoch(state, rows)` in the segments of
    `jaxgd.plan`, as they lie; with `shuffle=False` they come as they are numbered, and with
    `row_keys` an example is (example, key). While a segment runs on the device the next `prefetch`
    are read and placed in a thread. In memory are so many segments, and two more.

    `epoch` is compiled by the caller, such as `jax.jit(minibatch(…))`, or is a `walk`. The bits are
    those of `fit` on the same rows in memory. A state may be anything: nothing in it is counted by
    segment.

    Raises what `Source.rows` raises, and what reading raises, before the segment concerned.
    """
    b = check_batch_size(batch_size, source.n)
    prefetch = check_count("prefetch", prefetch)
    # By JAX's widest float: the bytes of a row are a part of the plan.
    segments_in = cache(lambda widest: plan(first_row(source), b, source.n))  # noqa: ARG005

    def streamed(state: Any, key: Key | None = None, e: int = 0) -> tuple[Any, PyTree]:
        check_untraced("stream", "Use visit on rows in memory there.", state, key, e)
        if key is None and (shuffle or row_keys):
            raise TypeError("a stream needs a key; got none. Use jax.random.key(0), or neither.")
        pieces: list[PyTree] = []
        segments = segments_in(jax.dtypes.canonicalize_dtype(np.float64))
        reading = Reading(source, key, shuffle, row_keys, segments, e + 1, prefetch)
        with reading:
            for segment in segments:
                rows = reading.of(e, segment)
                jax.block_until_ready(pieces[-1:])  # or rows would pile up before a slow device
                state, out = epoch(state, rows)
                pieces.append(out)
        return state, jax.tree.map(_joined, *pieces)

    return streamed


def first_row(source: Source) -> PyTree:
    """A row with the dtypes it has in memory: it decides a plan."""
    return source.rows(np.zeros(1, np.int32))


def _placed(rows: PyTree) -> PyTree:
    return jax.block_until_ready(jax.tree.map(jax.device_put, rows))


def _joined(*outs: Any) -> np.ndarray:
    """The outs of all segments, on the host: so nothing compiles."""
    return np.concatenate(jax.device_get(outs))
