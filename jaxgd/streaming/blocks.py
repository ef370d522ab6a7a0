"""Rows that lie in blocks, of which a few at a time fit into memory."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.host_order import HostOrder, host_shuffle
from jaxgd.inputs import check_count
from jaxgd.keys import Key


class Blocks:
    """`read(rows)` of what is read a block at a time: `block(start, stop)` gives those rows.

    Only blocks that hold a row asked for are read; the `keep` used last are kept.
    """

    def __init__(self, block: Callable[[int, int], PyTree], n: int, size: int, keep: int) -> None:
        self._block, self._n, self._size, self._keep = block, n, size, keep
        self._kept: OrderedDict[int, PyTree] = OrderedDict()

    def __call__(self, rows: np.ndarray) -> PyTree:
        """The rows of these numbers."""
        of = rows // self._size
        # Those that are kept come first: what is read then takes the place of what is through.
        blocks, first = np.unique(of, return_index=True)
        needed = blocks[np.argsort(first)].tolist()
        needed.sort(key=lambda i: i not in self._kept)
        parts = [(places := np.flatnonzero(of == i), self._taken(i, rows[places])) for i in needed]
        places = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
        return jax.tree.map(
            lambda *leaves: np.concatenate(leaves)[places], *[part for _, part in parts]
        )

    def _taken(self, i: int, rows: np.ndarray) -> PyTree:
        start = i * self._size
        if i not in self._kept:
            while len(self._kept) >= self._keep:
                self._kept.popitem(last=False)
            self._kept[i] = self._block(start, min(start + self._size, self._n))
        self._kept.move_to_end(i)
        return jax.tree.map(lambda leaf: leaf[rows - start], self._kept[i])


def blockwise(size: int, window: int) -> Callable[[Key, int], HostOrder]:
    """An order for rows in blocks of `size`: `order(key, n)` is a function of positions.

        row = s β(q div s) + q mod s,   q = w s i + ω_i(p - w s i),   i = p div w s

    for s = size and w = window: β shuffles the full blocks, as `shuffle(key, n // s)`, and ω_i the
    rows of each `window` of them, as `shuffle(fold_in(key, i), rows)`. So whoever reads in this
    order needs `window` blocks at a time, and it is a permutation of all rows.

    Departs from jaxgd.shuffle: rows of blocks in different windows never share a batch, but at a
    border, and the last, smaller block comes last.
    """
    size, window = check_count("size", size), check_count("window", window)
    span = size * window

    def order(key: Key, n: int) -> HostOrder:
        full = n // size
        shuffled = host_shuffle(key, full)(np.arange(full)) if full else np.zeros(0)
        starts = np.append(shuffled, full).astype(np.int64) * size
        windows = [
            host_shuffle(jax.random.fold_in(key, i), min(span, n - first))
            for i, first in enumerate(range(0, n, span))
        ]
        return partial(_rows, size, span, starts, windows)

    return order


def _rows(
    size: int, span: int, starts: np.ndarray, windows: list[HostOrder], positions: np.ndarray
) -> np.ndarray:
    positions = np.asarray(positions, np.int64)
    mixed, of = np.empty_like(positions), positions // span
    for i in np.unique(of).tolist():
        here = of == i
        mixed[here] = i * span + windows[i](positions[here] - i * span)
    return (starts[mixed // size] + mixed % size).astype(np.int32)
