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
    with np.errstate(invalid="ignore", over="ignore"):
        left, right = actual.astype(np.float64), expected.astype(np.float64)
        difference = np.abs(left - right)
    difference = np.where((left == right) | (np.isnan(left) & np.isnan(right)), 0.0, difference)
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
