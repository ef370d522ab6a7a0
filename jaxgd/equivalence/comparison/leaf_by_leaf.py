"""Two runs of the same training, compared leaf by leaf and update by update."""

from itertools import chain, starmap
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.comparison.deviations import (
    Deviation,
    Series,
    deviation,
    joined,
    of_stretch,
    ratio,
)
from jaxgd.equivalence.comparison.growth_rate import tenfold_time
from jaxgd.equivalence.comparison.report import LeafReport, Report
from jaxgd.equivalence.comparison.tolerance import FixedTolerance, Tolerance, times_allowed
from jaxgd.equivalence.comparison.ulp import ulp_distance
from jaxgd.equivalence.comparison.walk import Row, Stretch, stretches
from jaxgd.equivalence.recordings.column import Column
from jaxgd.equivalence.recordings.pytree import describe, listed
from jaxgd.equivalence.recordings.trajectory import Trajectory, read_trajectory

# Chosen so that a proof would have shown a learning rate off by 0.1%. Honest float32 trainings of
# the suite resolve 6e-5 or finer; a leaf that moves by 0.5% of its scale in 10 updates, 9e-4.
RESOLVES = 1e-3

# So many numbers are measured in floats at a time: they take ten times their own memory for it.
_PIECE = 2**16


def compare(
    actual: object,
    expected: object,
    tolerance: float | Tolerance | None = None,
    *,
    until: int | None = None,
    resolves: float = RESOLVES,
) -> Report:
    """How far `actual` strays from `expected`, per leaf and update, and where they part.

    A run is a list with one pytree per update, or one pytree (a dict, a NamedTuple, a tuple, an
    array) whose leaves have a leading axis of updates. Put the start in front if you have it: then
    entry t is the state after t updates and the first update is judged, too. Leaves are arrays of
    real numbers (JAX, torch, NumPy, on any device) or Python numbers, which take the other side's
    dtype. Containers match by the names of what they hold: a NamedTuple, a dict and a flat torch
    state_dict of the same names are the same.

    tolerance: None is FixedTolerance(); a number is FixedTolerance(fraction); a Calibration judges
    by what the reference's own rounding does.
    until: compare up to and including this update.
    resolves: the largest fraction of the distance travelled that may hide in what is allowed; the
        verdict is "unproven" where more may. Smaller proves more and takes a run that moves farther
        or a finer dtype; float16 and bfloat16, which are allowed 0.02 and 0.1, take a larger one.

    ValueError or TypeError, naming the path, when leaves, shapes, dtypes or lengths differ.
    """
    pairs = _read(actual, expected)
    updates = len(next(iter(pairs.values()))[1])
    if until is not None:
        if not 0 <= until < updates:
            raise ValueError(
                f"until is an update in [0, {updates - 1}]; got {until}. Use None for all."
            )
        updates = until + 1
        pairs = {path: (a.until(updates), b.until(updates)) for path, (a, b) in pairs.items()}
    if not 0 < resolves < 1:
        raise ValueError(
            "resolves is a fraction of the distance travelled, in (0, 1); "
            f"got {resolves}. Use {RESOLVES:g}, or more for half precision."
        )
    tolerance = _as_tolerance(tolerance)
    found = [_leaf_report(path, a, b, tolerance) for path, (a, b) in pairs.items()]
    leaves, finite_until = zip(*found, strict=True)
    parted = min((t for leaf in leaves if (t := leaf.parted_at) is not None), default=updates)
    difference = np.max([leaf.error for leaf in leaves], axis=0)
    return Report(
        leaves=leaves,
        entries=updates,
        finite_until=min(finite_until),
        allowed=tolerance.describe(sorted({b.dtype.name for _, b in pairs.values()})),
        tenfold_time=tenfold_time(difference[: parted + 1]),
        rounding_tenfold_time=tolerance.tenfold_time,
        resolves=resolves,
    )


class Judged(NamedTuple):
    """One leaf: what of its report says whether it parts, and how large it is."""

    times_allowed: Series
    sizes: Float[np.ndarray, "2 updates"]  # see Deviation


def judged_by_leaf(
    actual: object, expected: object, tolerance: float | Tolerance | None = None
) -> dict[str, Judged]:
    """What `compare` judges by, of each leaf: half the work of a whole report."""
    judge, found = _as_tolerance(tolerance), {}
    for path, (left, right) in _read(actual, expected).items():
        strayed = deviation(left, right)
        allowed = judge.allowed(path, right.dtype, strayed)
        found[path] = Judged(times_allowed(strayed, allowed), strayed.sizes)
    return found


def _as_tolerance(tolerance: float | Tolerance | None) -> Tolerance:
    if tolerance is None or isinstance(tolerance, int | float):
        return FixedTolerance(tolerance)
    return tolerance


def _read(actual: object, expected: object) -> dict[str, tuple[Column, Column]]:
    """The two columns of each leaf of two runs."""
    if actual is expected:
        raise ValueError(
            "Two runs are compared; actual and expected are the same object. Run both sides."
        )
    return _paired(read_trajectory(actual, "actual"), read_trajectory(expected, "expected"))


def _paired(actual: Trajectory, expected: Trajectory) -> dict[str, tuple[Column, Column]]:
    """The two columns of each leaf, once they are known to match."""
    if actual.leaves.keys() != expected.leaves.keys():
        only = {
            "actual": actual.leaves.keys() - expected.leaves.keys(),
            "expected": expected.leaves.keys() - actual.leaves.keys(),
        }
        found = "; ".join(f"{listed(p)} only in {side}" for side, p in only.items() if p)
        raise ValueError(
            f"Both runs hold the same leaves; {found}. Rename them, or compare what both have."
        )
    if actual.updates != expected.updates:
        raise ValueError(
            f"Both runs have the same updates; actual has {actual.updates} entries and expected "
            f"{expected.updates}. Record both with, or both without, the start."
        )
    pairs = {}
    for path, right in expected.leaves.items():
        left = actual.leaves[path]
        if left.shape != right.shape:
            raise ValueError(
                f"A leaf has one shape on both sides; '{path}' is {describe(left)} in actual and "
                f"{describe(right)} in expected. Transpose or reshape one (torch.nn.Linear keeps "
                "its weight as [out, in])."
            )
        pairs[path] = _one_dtype(path, left, right, path in actual.weak, path in expected.weak)
    return pairs


def _one_dtype(
    path: str, left: Column, right: Column, left_weak: bool, right_weak: bool
) -> tuple[Column, Column]:
    """Both in one dtype: Python numbers give way, and integers of any width are integers."""
    if left_weak and right_weak and left.dtype == right.dtype == np.float64:
        # tensor.item() gives a Python float; the numbers themselves tell that they were float32.
        if all(map(_is_float32, (left, right))):
            return left.astype(np.dtype(np.float32)), right.astype(np.dtype(np.float32))
    elif left_weak and right.dtype.kind not in "biu":
        left = left.astype(right.dtype)
    elif right_weak and left.dtype.kind not in "biu":
        right = right.astype(left.dtype)
    whole = left.dtype.kind in "biu" and right.dtype.kind in "biu"
    if left.dtype != right.dtype and not whole:
        raise TypeError(
            f"A leaf has one dtype on both sides; '{path}' is {left.dtype} in actual and "
            f"{right.dtype} in expected. Run both in one precision (JAX needs x64 for float64)."
        )
    return left, right


def _is_float32(column: Column) -> bool:
    numbers = column.stacked()
    return np.array_equal(numbers, numbers.astype(np.float32), equal_nan=True)


def _leaf_report(
    path: str, actual: Column, expected: Column, tolerance: Tolerance
) -> tuple[LeafReport, int]:
    """What to say of one leaf, and the update before the first at which both sides are NaN."""
    parts, of_rows = zip(*map(_of_updates, stretches(actual, expected)), strict=True)
    strayed = joined(parts)
    allowed = tolerance.allowed(path, expected.dtype, strayed)
    updates, shape = len(expected), expected.shape[1:]
    travelled = strayed.distance if updates > 1 else np.array([strayed.scale])
    index = np.unravel_index(strayed.worst, shape) if shape else ()
    whole, lost, median_ulp, ours, theirs = zip(*chain(*of_rows), strict=True)
    report = LeafReport(
        path=path,
        dtype=expected.dtype.name,
        shape=shape,
        whole=updates > 1 and all(whole),
        median_ulp=np.array(median_ulp),
        error=ratio(strayed.error, np.full_like(strayed.error, strayed.scale)),
        update_error=ratio(strayed.step_error, strayed.step),
        times_allowed=times_allowed(strayed, allowed),
        resolution=np.where(travelled > 0, ratio(allowed.error, travelled), np.inf),
        worst=np.stack(index, axis=1) if index else np.zeros((updates, 0), np.int64),
        actual=np.array(ours),
        expected=np.array(theirs),
    )
    return report, (lost.index(True) if True in lost else updates) - 1


def _of_updates(stretch: Stretch) -> tuple[Deviation, list[tuple]]:
    """Of some updates: how far they stray, and what their rows tell."""
    strayed = of_stretch(stretch)
    both_lost = np.isnan(strayed.sizes).all(axis=0).tolist()
    rows = zip(stretch.actual, stretch.expected, strayed.worst.tolist(), both_lost, strict=True)
    return strayed, [*starmap(_of_row, rows)]


def _of_row(
    actual: Row, expected: Row, worst: int, both_lost: bool
) -> tuple[bool, bool, float, Any, Any]:
    """Of one update: whether it holds whole numbers, and a NaN in one place on both sides; their
    median distance; the worst entry's numbers.

    both_lost: whether both sides hold a NaN, wherever.
    """
    whole = _holds_whole_numbers(expected)
    lost = both_lost and bool((np.isnan(actual) & np.isnan(expected)).any())
    return whole, lost, _median_distance(actual, expected), actual[worst], expected[worst]


def _holds_whole_numbers(row: Row) -> bool:
    pieces = (row[first : first + _PIECE] for first in range(0, len(row), _PIECE))
    return all(bool((piece == np.trunc(piece)).all()) for piece in pieces)


def _median_distance(actual: Row, expected: Row) -> float:
    """The median number of floats (of integers, if it holds integers) between the two."""
    apart = np.empty(len(expected))
    for first in range(0, len(expected), _PIECE):
        ours, theirs = (side[first : first + _PIECE] for side in (actual, expected))
        same = np.array_equal(ours, theirs)
        apart[first : first + _PIECE] = 0.0 if same else _distance(ours, theirs)
    return float(np.median(apart, overwrite_input=True))


def _distance(actual: Row, expected: Row) -> Row:
    if expected.dtype.kind in "biu":
        return np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return ulp_distance(actual, expected)
