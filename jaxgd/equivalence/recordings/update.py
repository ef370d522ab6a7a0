"""What one side did in each update of a training, stage by stage."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from ml_dtypes import finfo

from jaxgd.equivalence.recordings.trajectory import Trajectory, as_numpy, read_trajectory

Rows = Float[np.ndarray, "rows features"]

# Two ways to standardise the same column differ by a few roundings of its scale.
_ROUNDINGS = 8.0


class Update(NamedTuple):
    """One update; each stage is a pytree of arrays (JAX, torch, NumPy), None if not recorded.

    Record copies: `tensor.detach().clone()`. The gradient is the one of the loss, as it is before
    clipping; weight decay and clipping are the optimizer's.
    """

    params: Any  # before the update
    gradient: Any
    updated: Any  # the parameters after it
    batch: Any = None  # what was seen: row numbers, or arrays whose first axis is the rows
    outputs: Any = None  # what the model made of each row
    loss: Any = None
    opt_state: Any = None  # after the update, under the same names on both sides


Recording = Sequence[Update]


def stage(recording: Recording, name: str) -> list[Any] | None:
    """One stage of all updates; None unless every update holds it."""
    values = [getattr(update, name) for update in recording]
    return None if any(value is None for value in values) else values


def row_count(batch: Any) -> int:
    """How many rows a batch has."""
    return len(_batch_leaves(batch)[0])


def same_rows(actual: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether some batches hold the same rows, to rounding, as others do, in whatever order."""
    left, right = (
        np.concatenate([_matrix_of(batch) for batch in side]) for side in (actual, expected)
    )
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            "A batch is recorded alike on both sides; a row has "
            f"{left.shape[1]} numbers in actual and {right.shape[1]} in expected. "
            "Record the row numbers, or the same arrays in the same layout."
        )
    if len(left) != len(right):
        return False
    floats = [leaf.dtype for leaf in _batch_leaves(expected[0]) if leaf.dtype.kind not in "biu"]
    eps = max((float(finfo(dtype).eps) for dtype in floats), default=0.0)
    scale = np.abs(right).max(axis=0, initial=0.0)
    apart = np.abs(left[_sorting(left)] - right[_sorting(right)])
    return bool((apart <= _ROUNDINGS * eps * scale).all())


def _matrix_of(batch: Any) -> Rows:
    """One line a row, all leaves side by side."""
    flat = [leaf.reshape(len(leaf), -1).astype(np.float64) for leaf in _batch_leaves(batch)]
    return np.concatenate(flat, axis=1)


def _sorting(matrix: Rows) -> Int[np.ndarray, " rows"]:
    return np.lexsort(matrix.T[::-1])


def _batch_leaves(batch: Any) -> list[np.ndarray]:
    return [leaf[0] for leaf in read_trajectory([batch], "batch").leaves.values()]


def outputs_by_row(recording: Recording) -> list[np.ndarray] | None:
    """The outputs of all updates in the order of their sorted batches, padded to one length."""
    outputs, batches = stage(recording, "outputs"), stage(recording, "batch")
    if outputs is None:
        return None
    arrays = [as_numpy(output) for output in outputs]
    if batches is not None:
        sortings = [_sorting(_matrix_of(batch)) for batch in batches]
        arrays = [
            a[s] if a.ndim and len(a) == len(s) else a
            for a, s in zip(arrays, sortings, strict=True)
        ]
    longest = max((len(a) for a in arrays if a.ndim), default=0)
    return [
        np.pad(a, [(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)]) if a.ndim else a
        for a in arrays
    ]


class Moves(NamedTuple):
    """A recording as the optimizer sees it: matrices [updates, entries] in float64."""

    gradients: Float[np.ndarray, "updates entries"]
    params: Float[np.ndarray, "updates entries"]
    steps: Float[np.ndarray, "updates entries"]
    leaves: dict[str, tuple[slice, np.dtype]]  # where each leaf's entries lie, by path


def moves(recording: Recording) -> Moves:
    """The gradients, the parameters before, and what the updates added to them."""
    gradients, params, updated = (
        read_trajectory([getattr(update, name) for update in recording], name)
        for name in ("gradient", "params", "updated")
    )
    paths = sorted(params.leaves)
    shapes = [
        {path: leaf.shape[1:] for path, leaf in run.leaves.items()}
        for run in (params, gradients, updated)
    ]
    if shapes[1:] != shapes[:1] * 2:
        raise ValueError(
            "params, gradient and updated hold the same leaves in the same shapes; "
            "got {}, {} and {}. Rename or transpose them.".format(*shapes)
        )
    ends = np.cumsum([params.leaves[path][0].size for path in paths]).tolist()
    leaves = {
        path: (slice(start, end), params.leaves[path].dtype)
        for path, start, end in zip(paths, [0, *ends], ends, strict=False)
    }
    before = _matrix(params, paths)
    return Moves(_matrix(gradients, paths), before, _matrix(updated, paths) - before, leaves)


def _matrix(trajectory: Trajectory, paths: list[str]) -> Float[np.ndarray, "updates entries"]:
    columns = [trajectory.leaves[path].reshape(trajectory.updates, -1) for path in paths]
    return np.concatenate([column.astype(np.float64) for column in columns], axis=1)
