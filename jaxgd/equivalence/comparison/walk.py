"""One leaf of two runs, walked through in time: each update is read once."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxgd.equivalence.recordings.column import Column

Row = Shaped[np.ndarray, " entries"]
Rows = Shaped[np.ndarray, "updates entries"]

# So many numbers of a side are measured at a time: what fits a core's cache, widened to float64.
_CACHED = 2**16

# Until glibc has seen a block of this size freed, it gives every piece's memory back to the system,
# which hands it out page by page again: seven times the work of measuring it.
_SEEN_FREED = 2**23


class Stretch(NamedTuple):
    """Some updates of a leaf, one after the other.

    before: both sides' update before these; where these are the first, the first of them.
    start: the expected side's first update of all.
    """

    actual: Rows
    expected: Rows
    before: tuple[Row, Row]
    start: Row

    def pieces(self) -> Iterator[tuple[int, "Stretch"]]:
        """Some entries after the others, and where they begin."""
        width = max(_CACHED // len(self.expected), 1)
        for first in range(0, max(len(self.start), 1), width):
            at = slice(first, first + width)
            before = self.before[0][at], self.before[1][at]
            yield first, Stretch(self.actual[:, at], self.expected[:, at], before, self.start[at])


def stretches(actual: Column, expected: Column) -> Iterator[Stretch]:
    """The updates in order: as many at a time as are no more numbers than a cache, or one.

    Memory: of a leaf that is larger than that five rows, two of each side and the start.
    """
    np.empty(_SEEN_FREED, np.uint8)
    at_once = max(_CACHED // max(expected.entries, 1), 1)
    before: tuple[Row, Row] | None = None
    for first in range(0, len(expected), at_once):
        last = min(first + at_once, len(expected))
        ours, theirs = actual.rows(first, last), expected.rows(first, last)
        if before is None:
            before, start = (ours[0], theirs[0]), theirs[0]
        yield Stretch(ours, theirs, before, start)
        before = ours[-1], theirs[-1]
