"""The rows of a batch: how many, whether two batches hold the same, and in which order.

A batch is any pytree of arrays whose first axis is the rows; its keys may come in any order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from ml_dtypes import finfo

from jaxgd.equivalence.recordings.deviation import largest_difference
from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of
from jaxgd.equivalence.recordings.update import Recording, stage

Rows = Float[np.ndarray, "rows features"]

# Two ways to standardise the same column differ by a few roundings of its scale.
_ROUNDINGS = 8.0


def row_count(batch: Any) -> int:
    """How many rows a batch has."""
    return next(len(leaf) for leaf in batch_leaves(batch).values())


def batch_leaves(batch: Any) -> Leaves:
    """The arrays of a batch by path, in the order of their paths."""
    leaves = leaves_of(batch, "batch")
    scalars = [path for path, leaf in leaves.items() if leaf.ndim == 0]
    if scalars or not leaves:
        raise ValueError(
            "A batch is arrays whose first axis is the rows; "
            f"got {'scalars: ' + repr(scalars) if scalars else 'none'}. Record the row numbers."
        )
    return dict(sorted(leaves.items()))


def same_rows(actual: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether some batches hold the same rows, to rounding, as others do, in whatever order."""
    left, right = (
        np.concatenate([_rows_of(batch) for batch in side]) for side in (actual, expected)
    )
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            "A batch is recorded alike on both sides; a row has "
            f"{left.shape[1]} numbers in actual and {right.shape[1]} in expected. "
            "Record the row numbers, or the same arrays in the same layout."
        )
    if len(left) != len(right):
        return False
    if np.array_equal(left, right, equal_nan=True):
        return True
    eps = max(map(_eps, batch_leaves(expected[0]).values()), default=0.0)
    scale = np.abs(right).max(axis=0, initial=0.0)
    apart = np.abs(left[_sorting(left)] - right[_sorting(right)])
    return bool((apart <= _ROUNDINGS * eps * scale).all())


def _eps(leaf: np.ndarray) -> float:
    return _eps_of(leaf.dtype)


def _eps_of(dtype: np.dtype) -> float:
    return 0.0 if dtype.kind in "biu" else float(finfo(dtype).eps)


def _rows_of(batch: Any) -> Rows:
    """One line a row, all leaves side by side."""
    flat = [leaf.reshape(len(leaf), -1) for leaf in batch_leaves(batch).values()]
    if len({len(leaf) for leaf in flat}) > 1:
        raise ValueError(
            "A batch is arrays whose first axis is the rows, as many in each; "
            f"got {[len(leaf) for leaf in flat]}. Record the row numbers."
        )
    return np.concatenate([leaf.astype(np.float64) for leaf in flat], axis=1)


def row_order(batch: Any) -> Int[np.ndarray, " rows"]:
    """The positions of the rows, smallest row first: the same rows come alike on both sides."""
    return _sorting(_rows_of(batch))


def to_order(actual: Any, expected: Any) -> Int[np.ndarray, " rows"]:
    """The positions of the actual batch's rows, in the order in which the expected one has them."""
    return row_order(actual)[np.argsort(row_order(expected))]


def _sorting(matrix: Rows) -> Int[np.ndarray, " rows"]:
    return np.lexsort(matrix.T[::-1])


def outputs_by_row(recording: Recording) -> list[Leaves] | None:
    """The outputs of all updates in the order of their sorted batches, padded to one length."""
    outputs, batches = stage(recording, "outputs"), stage(recording, "batch")
    if outputs is None:
        return None
    trees = [leaves_of(output, "outputs") for output in outputs]
    if batches is not None:
        trees = [in_order(t, row_order(b)) for t, b in zip(trees, batches, strict=True)]
    longest = {
        path: max(len(t[path]) for t in trees) for path, leaf in trees[0].items() if leaf.ndim
    }
    return [{path: _padded(leaf, longest.get(path)) for path, leaf in t.items()} for t in trees]


def in_order(leaves: Leaves, order: Int[np.ndarray, " rows"]) -> Leaves:
    """The leaves that have those rows in that order; the others as they are."""
    return {
        path: leaf[order] if leaf.ndim and len(leaf) == len(order) else leaf
        for path, leaf in leaves.items()
    }


def along_rows(
    array: Shaped[np.ndarray, "..."],
    order: Int[np.ndarray, " rows"],
    beside: Shaped[np.ndarray, "..."] | None,
) -> Shaped[np.ndarray, "..."]:
    """The array with its rows in that order, if one of its axes is as long.

    Of several such axes it is the one along which it then comes closest to `beside`, the same array
    of another pass, whose rows lie in that order: a batch may be as long as a sequence.
    """
    turned = [np.take(array, order, a) for a, n in enumerate(array.shape) if n == len(order)]
    if len(turned) > 1 and beside is not None:
        return min(turned, key=lambda other: largest_difference(other, beside))
    return turned[0] if turned else array


def in_coarser_precision(
    actual: list[Leaves] | None, expected: list[Leaves] | None
) -> tuple[list[Leaves] | None, list[Leaves] | None]:
    """Both sides' outputs, each leaf in the coarser of the two sides' precisions."""
    if actual is None or expected is None or actual[0].keys() != expected[0].keys():
        return actual, expected
    dtypes = {
        path: max((actual[0][path].dtype, leaf.dtype), key=_eps_of)
        for path, leaf in expected[0].items()
        if leaf.dtype.kind not in "biu" and actual[0][path].dtype.kind not in "biu"
    }

    def cast(side: list[Leaves]) -> list[Leaves]:
        return [{p: leaf.astype(dtypes.get(p, leaf.dtype)) for p, leaf in t.items()} for t in side]

    return cast(actual), cast(expected)


def _padded(leaf: np.ndarray, length: int | None) -> np.ndarray:
    if length is None:
        return leaf
    return np.pad(leaf, [(0, length - len(leaf)), *[(0, 0)] * (leaf.ndim - 1)])
