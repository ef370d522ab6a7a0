"""Two runs of the same training, compared leaf by leaf and update by update."""

import numpy as np

from jaxgd.equivalence.comparison.deviations import Series, deviation, ratio
from jaxgd.equivalence.comparison.growth_rate import tenfold_time
from jaxgd.equivalence.comparison.report import LeafReport, Report
from jaxgd.equivalence.comparison.tolerance import FixedTolerance, Tolerance
from jaxgd.equivalence.comparison.ulp import ulp_distance
from jaxgd.equivalence.recordings.pytree import describe, listed
from jaxgd.equivalence.recordings.trajectory import Trajectory, read_trajectory

# Chosen so that a proof would have shown a learning rate off by 0.1%. Honest float32 trainings of
# the suite resolve 6e-5 or finer; a leaf that moves by 0.5% of its scale in 10 updates, 9e-4.
RESOLVES = 1e-3


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
    if actual is expected:
        raise ValueError(
            "Two runs are compared; actual and expected are the same object. Run both sides."
        )
    left, right = read_trajectory(actual, "actual"), read_trajectory(expected, "expected")
    pairs, updates = _paired(left, right), right.updates
    if until is not None:
        if not 0 <= until < updates:
            raise ValueError(
                f"until is an update in [0, {updates - 1}]; got {until}. Use None for all."
            )
        updates = until + 1
        pairs = {path: (a[:updates], b[:updates]) for path, (a, b) in pairs.items()}
    if not 0 < resolves < 1:
        raise ValueError(
            "resolves is a fraction of the distance travelled, in (0, 1); "
            f"got {resolves}. Use {RESOLVES:g}, or more for half precision."
        )
    if tolerance is None or isinstance(tolerance, int | float):
        tolerance = FixedTolerance(tolerance)

    leaves = tuple(_leaf_report(path, a, b, tolerance) for path, (a, b) in pairs.items())
    parted = min((t for leaf in leaves if (t := leaf.parted_at) is not None), default=updates)
    difference = np.max([leaf.error for leaf in leaves], axis=0)
    return Report(
        leaves=leaves,
        entries=updates,
        finite_until=min(_last_finite(a, b) for a, b in pairs.values()),
        allowed=tolerance.describe(sorted({b.dtype.name for _, b in pairs.values()})),
        tenfold_time=tenfold_time(difference[: parted + 1]),
        rounding_tenfold_time=tolerance.tenfold_time,
        resolves=resolves,
    )


def _paired(actual: Trajectory, expected: Trajectory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The two arrays of each leaf, once they are known to match."""
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
    path: str, left: np.ndarray, right: np.ndarray, left_weak: bool, right_weak: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays in one dtype: Python numbers give way, and integers of any width are integers."""
    if left_weak and right_weak and left.dtype == right.dtype == np.float64:
        # tensor.item() gives a Python float; the numbers themselves tell that they were float32.
        if all(np.array_equal(x, x.astype(np.float32), equal_nan=True) for x in (left, right)):
            return left.astype(np.float32), right.astype(np.float32)
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


def _leaf_report(
    path: str, actual: np.ndarray, expected: np.ndarray, tolerance: Tolerance
) -> LeafReport:
    """What to say of one leaf."""
    strayed = deviation(actual, expected)
    allowed = tolerance.allowed(path, expected.dtype, strayed)
    updates = np.arange(len(expected))
    shape = expected.shape[1:]
    left, right = actual.reshape(len(updates), -1), expected.reshape(len(updates), -1)
    travelled = strayed.distance if len(updates) > 1 else np.array([strayed.scale])
    index = np.unravel_index(strayed.worst, shape) if shape else ()
    return LeafReport(
        path=path,
        dtype=expected.dtype.name,
        shape=shape,
        whole=len(updates) > 1 and bool((right == np.trunc(right)).all()),
        median_ulp=_median_distance(left, right),
        error=ratio(strayed.error, np.full_like(strayed.error, strayed.scale)),
        update_error=ratio(strayed.step_error, strayed.step),
        times_allowed=np.maximum(
            ratio(strayed.error, allowed.error), ratio(strayed.step_error, allowed.step_error)
        ),
        resolution=np.where(travelled > 0, ratio(allowed.error, travelled), np.inf),
        worst=np.stack(index, axis=1) if index else np.zeros((len(updates), 0), np.int64),
        actual=left[updates, strayed.worst],
        expected=right[updates, strayed.worst],
    )


def _median_distance(actual: np.ndarray, expected: np.ndarray) -> Series:
    """The median number of floats (of integers, if it holds integers) between the two."""
    if expected.dtype.kind in "biu":
        return np.median(np.abs(actual.astype(np.float64) - expected.astype(np.float64)), axis=1)
    return np.median(ulp_distance(actual, expected).astype(np.float64), axis=1)


def _last_finite(actual: np.ndarray, expected: np.ndarray) -> int:
    """The update before the first at which both hold a NaN in the same place."""
    lost = (np.isnan(actual) & np.isnan(expected)).reshape(len(expected), -1).any(axis=1)
    return int(lost.argmax()) - 1 if lost.any() else len(expected) - 1
