"""Columns of any scale brought to mean 0 and standard deviation 1."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# A column whose spread is below the rounding of its mean is constant.
_ROUNDING = 10 * np.finfo(np.float64).eps


Reduction = Callable[[Float[np.ndarray, "m *d"]], Float[np.ndarray, "*d"]]
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
    mean = total(x) / n
    deviation = x - mean
    peak = most(np.abs(deviation))
    constant = peak <= _ROUNDING * np.abs(mean)
    unit = np.where(peak == 0, 1.0, peak)
    scale = unit * np.sqrt(total(np.square(deviation / unit)) / n)
    return Standardizer(mean, np.where(constant, np.maximum(1.0, np.abs(mean)), scale))


def unscaled(*columns: int) -> Standardizer:
    """The standardizer that changes nothing."""
    return Standardizer(np.zeros(columns), np.ones(columns))
