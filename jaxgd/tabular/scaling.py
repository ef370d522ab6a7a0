"""Columns of any scale brought to mean 0 and standard deviation 1."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# A column whose spread is below the rounding of its mean is constant.
_ROUNDING = 10 * np.finfo(np.float64).eps

PIECE = 2**14  # rows, which stay in a processor's cache


Reduction = Callable[[Float[np.ndarray, "m *d"]], Float[np.ndarray, "*d"]]
_OfValues = Callable[[np.ndarray], np.ndarray]
_Reduced = Callable[[_OfValues], np.ndarray]
_SUM, _MAX = partial(np.sum, axis=0), partial(np.max, axis=0)


class Standardizer(NamedTuple):
    """The map z = (x - mean) / scale, column by column, in float64."""

    mean: Float[np.ndarray, "*d"]
    scale: Float[np.ndarray, "*d"]

    def apply(self, x: Float[np.ndarray, "n *d"]) -> Float[np.ndarray, "n *d"]:
        """The standardised values z."""
        return (x - self.mean) / self.scale

    def invert(self, z: Float[np.ndarray, "n *d"]) -> Float[np.ndarray, "n *d"]:
        """The values x whose standardised values are z."""
        return z * self.scale + self.mean


def standardizer(
    x: Float[np.ndarray, "m *d"],
    n: int | None = None,
    total: Reduction = _SUM,
    most: Reduction = _MAX,
) -> Standardizer:
    """The standardizer to the mean and the (population) standard deviation of each column.

        mean = Σx / n,   scale = √(Σ(x - mean)² / n),   max(1, |mean|) if constant

    Squares are taken relative to the largest deviation, so that columns of 1e-200 and of 1e200
    come out right too. Where the m rows of `x` are some of n, `total` and `most` are the sum and
    the largest of all n, column by column.
    """
    n = len(x) if n is None else n
    return _standardizer(n, lambda of: total(of(x)), lambda of: most(of(x)))


def standardizer_of_rows(x: Float[np.ndarray, "n d"], rows: Int[np.ndarray, "m"]) -> Standardizer:
    """`standardizer(x[rows])` to the bit, a piece of the rows at a time: nothing is copied."""
    pieces = [rows[i : i + PIECE] for i in range(0, len(rows), PIECE)]
    if x.shape[1] == 1:  # NumPy adds up a lone column in another order than columns side by side
        pieces = [rows]

    def total(of: _OfValues) -> Float[np.ndarray, "d"]:
        sums = np.sum(of(x[pieces[0]]), axis=0)
        for piece in pieces[1:]:  # from the first row to the last, as a sum of all of them does
            sums = np.sum(np.concatenate([sums[None], of(x[piece])]), axis=0)
        return sums

    def most(of: _OfValues) -> Float[np.ndarray, "d"]:
        return np.max([np.max(of(x[piece]), axis=0) for piece in pieces], axis=0)

    return _standardizer(len(rows), total, most)


def _standardizer(n: int, total: _Reduced, most: _Reduced) -> Standardizer:
    """From what the sum and the largest over n rows are, of a function of their values."""
    mean = total(lambda x: x) / n
    peak = most(lambda x: np.abs(x - mean))
    constant = peak <= _ROUNDING * np.abs(mean)
    unit = np.where(peak == 0, 1.0, peak)
    scale = unit * np.sqrt(total(lambda x: np.square((x - mean) / unit)) / n)
    return Standardizer(mean, np.where(constant, np.maximum(1.0, np.abs(mean)), scale))


def unscaled(*columns: int) -> Standardizer:
    """The standardizer that changes nothing."""
    return Standardizer(np.zeros(columns), np.ones(columns))
