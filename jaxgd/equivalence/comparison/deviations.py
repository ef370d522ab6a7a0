"""How far one leaf of a run strays from another run's, update by update."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxgd.equivalence.comparison.walk import Stretch, stretches
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
    sizes: Float[np.ndarray, "2 updates"]  # |actual| and |expected|, NaN or infinite if one is


def deviation(
    actual: Column | Shaped[np.ndarray, "updates ..."],
    expected: Column | Shaped[np.ndarray, "updates ..."],
) -> Deviation:
    """How far `actual` strays from `expected`, whatever the two dtypes, measured in float64.

    Two NaNs, or two infinities of one sign, do not differ; a number and a NaN or an infinity are
    infinitely far apart. Scales are those of the finite entries.
    """
    walk = stretches(as_column(actual), as_column(expected))
    return joined([*map(of_stretch, walk)])


def of_stretch(stretch: Stretch) -> Deviation:
    """The deviation in some of the updates."""
    return merged([(first, _of_piece(piece)) for first, piece in stretch.pieces()])


def _of_piece(stretch: Stretch) -> Deviation:
    """... of as many entries as are measured at a time."""
    with np.errstate(invalid="ignore", over="ignore"):
        left, right, start = map(_widened, (stretch.actual, stretch.expected, stretch.start))
        left_before, right_before = map(_widened, stretch.before)
        difference = _apart(left, right)
        error = np.abs(difference)
        sizes = np.stack([_largest(left), _largest(right)])
        return Deviation(
            error=error.max(axis=1, initial=0.0),
            step_error=_largest_number(_steps(difference, _apart(left_before, right_before))),
            step=_largest_finite(_steps(right, right_before)),
            distance=np.maximum.accumulate(_largest_finite(right - start)),
            scale=float(_finite(right, sizes[1]).max()),
            worst=error.argmax(axis=1) if error.size else np.zeros(len(error), np.int64),
            sizes=sizes,
        )


def _widened(x: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return x.astype(np.float64, copy=False)


def _steps(x: Block, before: Float[np.ndarray, " entries"]) -> Block:
    """What each update adds to the one before it."""
    steps = np.empty_like(x)
    np.subtract(x[0], before, out=steps[0])
    np.subtract(x[1:], x[:-1], out=steps[1:])
    return steps


def _apart(
    left: Float[np.ndarray, "*updates entries"], right: Float[np.ndarray, "*updates entries"]
) -> Float[np.ndarray, "*updates entries"]:
    """left - right; 0 where both are no number, or the same; infinite where one is no number."""
    difference = left - right
    if not np.isfinite(difference).all():
        difference[(left == right) | (np.isnan(left) & np.isnan(right))] = 0.0
        difference[np.isnan(difference)] = np.inf
    return difference


def merged(parts: list[tuple[int, Deviation]]) -> Deviation:
    """The deviation of all entries, from those of parts and where each begins."""
    if len(parts) == 1:
        return parts[0][1]
    firsts, deviations = zip(*parts, strict=True)
    error, step_error, step, distance, scale, worst, sizes = zip(*deviations, strict=True)
    part = np.argmax(error, axis=0)  # the part of each update's worst entry
    return Deviation(
        error=np.max(error, axis=0),
        step_error=np.max(step_error, axis=0),
        step=np.max(step, axis=0),
        distance=np.max(distance, axis=0),
        scale=max(scale),
        worst=np.array(firsts)[part] + np.stack(worst)[part, np.arange(len(part))],
        sizes=np.max(sizes, axis=0),
    )


def joined(parts: Sequence[Deviation]) -> Deviation:
    """The deviation over all updates, from those of stretches that follow each other."""
    error, step_error, step, distance, scale, worst, sizes = zip(*parts, strict=True)
    return Deviation(
        error=np.concatenate(error),
        step_error=np.concatenate(step_error),
        step=np.concatenate(step),
        distance=np.maximum.accumulate(np.concatenate(distance)),
        scale=max(scale),
        worst=np.concatenate(worst),
        sizes=np.concatenate(sizes, axis=1),
    )


def ratio(numerator: Series, denominator: Series) -> Series:
    """numerator / denominator; 0 / 0 is 0, and anything else / 0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = numerator / denominator
    return np.where(numerator == 0, 0.0, np.nan_to_num(quotient, nan=0.0, posinf=np.inf))


def _largest(x: Block) -> Series:
    """The largest |entry| of each update, NaN if one is; 0 for a leaf without entries."""
    return np.maximum(x.max(axis=1, initial=0.0), np.abs(x.min(axis=1, initial=0.0)))


def _largest_number(x: Block) -> Series:
    """... of those that are no NaN."""
    largest = _largest(x)
    return _largest(np.where(np.isnan(x), 0.0, x)) if np.isnan(largest).any() else largest


def _largest_finite(x: Block) -> Series:
    """... of those that are finite."""
    return _finite(x, _largest(x))


def _finite(x: Block, largest: Series) -> Series:
    """The largest finite |entry| of each update, once the largest of all are known."""
    return largest if np.isfinite(largest).all() else _largest(np.where(np.isfinite(x), x, 0.0))
