"""One leaf over all updates, read a block of entries at a time."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

Block = Shaped[np.ndarray, "updates entries"]

# So many numbers are read and widened at a time: what fits a core's cache. From disk, where a read
# costs more than a number, rows are cut no shorter than this.
_CACHED = 2**16
_READ = 2**12

# A column in memory of no more numbers than this is copied into one array: blocks come sooner.
_COPIED = 2**24


class Column:
    """A leaf [updates, ...]: one array for each update, in memory or on disk.

    What is made of a column is made block by block, so that it takes memory for a block alone.
    """

    def __init__(self, rows: Sequence[Any] | np.ndarray, dtype: np.dtype | None = None) -> None:
        self._rows = rows
        self.dtype = rows[0].dtype if dtype is None else dtype
        self.shape: tuple[int, ...] = (len(rows), *rows[0].shape)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def entries(self) -> int:
        """How many numbers the leaf holds in each update."""
        return math.prod(self.shape[1:])

    def block(self, first: int, last: int) -> Block:
        """The entries from first to last, of all updates."""
        if self._fits_in_memory():
            self._rows = np.stack(list(self._rows))
        if isinstance(self._rows, np.ndarray):
            flat = self._rows.reshape(len(self), -1)[:, first:last]
        else:
            flat = np.stack([row.reshape(-1)[first:last] for row in self._rows])
        return flat.astype(self.dtype, copy=False)

    def _fits_in_memory(self) -> bool:
        """Whether the rows are arrays that are small enough to be copied into one."""
        if isinstance(self._rows, np.ndarray) or not isinstance(self._rows[0], np.ndarray):
            return False
        return self.entries * len(self) <= _COPIED

    def row(self, update: int) -> Shaped[np.ndarray, " entries"]:
        """All entries of one update."""
        return np.asarray(self._rows[update]).reshape(-1).astype(self.dtype, copy=False)

    def rows(self, first: int, last: int) -> Block:
        """All entries of the updates from first to last."""
        if isinstance(self._rows, np.ndarray):
            rows = self._rows[first:last].reshape(last - first, -1)
            return rows.astype(self.dtype, copy=False)
        read = [self.row(update) for update in range(first, last)]
        return read[0][None] if len(read) == 1 else np.stack(read)

    def stacked(self) -> Shaped[np.ndarray, "updates ..."]:
        """All of it in memory."""
        return self.block(0, self.entries).reshape(self.shape)

    def until(self, updates: int) -> "Column":
        """The first updates."""
        return Column(self._rows[:updates], self.dtype)

    def astype(self, dtype: np.dtype) -> "Column":
        """The column in another dtype, converted as it is read."""
        return Column(self._rows, np.dtype(dtype))

    def places(self) -> Iterator[tuple[int, int]]:
        """Where blocks begin and end."""
        in_memory = isinstance(self._rows[0], np.ndarray)
        width = max(_CACHED // len(self), 1 if in_memory else _READ)
        for first in range(0, max(self.entries, 1), width):
            yield first, min(first + width, self.entries)


def as_column(array: Column | np.ndarray) -> Column:
    """The array [updates, ...] as a column."""
    return array if isinstance(array, Column) else Column(array)
