"""How far one leaf of a run strays from another run's, update by update."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxgd.equivalence.recordings.column import Column, as_column

Series = Float[np.ndarray, " updates"]
Block = Float[np.ndarray, "updates entries"]


class Deviation(NamedTuple):
    """Largest absolute values over the entries of one leaf, at each update."""

    error: Series  # |actual - expected|
    step_error: Series  # |(actual - actual before) - (expected - expected before)|, 0 at entry 0
    step: Series  # |expected - expected before|, 0 at entry 0
    distance: Series  # |expected - expected at the start|, the farthest so far
    scale: float  # |expected|, the largest of the whole run
    worst: Int[np.ndarray, " updates"]  # flat position of the entry with the largest error


def deviation(
    actual: Column | Shaped[np.ndarray, "updates ..."],
    expected: Column | Shaped[np.ndarray, "updates ..."],
) -> Deviation:
    """How far `actual` strays from `expected`, whatever the two dtypes, measured in float64.

    Two NaNs, or two infinities of one sign, do not differ; a number and a NaN or an infinity are
    infinitely far apart. Scales are those of the finite entries.
    """
    left, right = as_column(actual), as_column(expected)
    return merged(
        [
            (first, _of_block(left.block(first, last), right.block(first, last)))
            for first, last in right.places()
        ]
    )


def _of_block(
    actual: Shaped[np.ndarray, "updates entries"], expected: Shaped[np.ndarray, "updates entries"]
) -> Deviation:
    """The deviation of some of the entries, at all updates."""
    with np.errstate(invalid="ignore", over="ignore"):
        left, right = actual.astype(np.float64), expected.astype(np.float64)
        difference = left - right
        if not np.isfinite(difference).all():
            difference[(left == right) | (np.isnan(left) & np.isnan(right))] = 0.0
            difference[np.isnan(difference)] = np.inf
        error = np.abs(difference)
        return Deviation(
            error=error.max(axis=1, initial=0.0),
            step_error=_of_steps(_largest_number, difference),
            step=_of_steps(_largest_finite, right),
            distance=np.maximum.accumulate(_largest_finite(right - right[:1])),
            scale=float(_largest_finite(right).max()),
            worst=error.argmax(axis=1) if error.size else np.zeros(len(error), np.int64),
        )


def merged(parts: list[tuple[int, Deviation]]) -> Deviation:
    """The deviation of all entries, from those of parts and where each begins."""
    if len(parts) == 1:
        return parts[0][1]
    firsts = np.array([first for first, _ in parts])
    error, step_error, step, distance, scale, worst = zip(*(d for _, d in parts), strict=True)
    part = np.argmax(error, axis=0)  # the part of each update's worst entry
    return Deviation(
        error=np.max(error, axis=0),
        step_error=np.max(step_error, axis=0),
        step=np.max(step, axis=0),
        distance=np.max(distance, axis=0),
        scale=max(scale),
        worst=firsts[part] + np.stack(worst)[part, np.arange(len(part))],
    )


def ratio(numerator: Series, denominator: Series) -> Series:
    """numerator / denominator; 0 / 0 is 0, and anything else / 0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = numerator / denominator
    return np.where(numerator == 0, 0.0, np.nan_to_num(quotient, nan=0.0, posinf=np.inf))


def _of_steps(largest: Callable[[Block], Series], x: Block) -> Series:
    """The largest change of an entry in each update; 0 in the first, which has none before it."""
    return np.concatenate([[0.0], largest(x[1:] - x[:-1])])


def _largest(x: Block) -> Series:
    """The largest |entry| of each update, NaN if one is; 0 for a leaf without entries."""
    return np.maximum(x.max(axis=1, initial=0.0), np.abs(x.min(axis=1, initial=0.0)))


def _largest_number(x: Block) -> Series:
    """... of those that are no NaN."""
    largest = _largest(x)
    return _largest(np.where(np.isnan(x), 0.0, x)) if np.isnan(largest).any() else largest


def _largest_finite(x: Block) -> Series:
    """... of those that are finite."""
    largest = _largest(x)
    return largest if np.isfinite(largest).all() else _largest(np.where(np.isfinite(x), x, 0.0))
