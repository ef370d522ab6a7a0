"""How far two arrays of a recording are apart."""

import numpy as np
from jaxtyping import Shaped


def largest_difference(
    actual: Shaped[np.ndarray, "..."], expected: Shaped[np.ndarray, "..."]
) -> float:
    """The largest |actual - expected|; infinite where one is NaN or the shapes differ, 0 where both
    are the same."""
    if actual.shape != expected.shape:
        return float("inf")
    left, right = (side.astype(np.float64, copy=False) for side in (actual, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.asarray(np.abs(left - right))
    difference[(left == right) | (np.isnan(left) & np.isnan(right))] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max(initial=0.0))
