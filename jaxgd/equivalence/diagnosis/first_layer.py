"""The first layer in which two trainings part, forward or backward."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import finfo

from jaxgd.equivalence.comparison.tolerance import FixedTolerance
from jaxgd.equivalence.recordings.batch import along_rows, to_order
from jaxgd.equivalence.recordings.deviation import largest_difference
from jaxgd.equivalence.recordings.layers import LayerRecord, layers_of
from jaxgd.equivalence.recordings.pytree import Leaves, describe
from jaxgd.equivalence.recordings.update import Update

Array = Shaped[np.ndarray, "..."]
Direction = Literal["forward", "backward"]

# Compared by the tolerance of a run that has gone as far as the numbers are large.
_ROUNDINGS = 32.0


class Parting(NamedTuple):
    """A layer that parts, though all before it agree; backward: all after it.

    deviation, bound: the largest difference of its output (backward: of the gradient with respect
        to it), and the largest that was allowed, as fractions of its largest number.
    """

    layer: str
    direction: Direction
    deviation: float
    bound: float
    shapes: str = ""  # ... if they differ

    def __str__(self) -> str:
        first = f"First layer that parts, {self.direction}: '{self.layer}'"
        if self.shapes:
            return f"{first}, of shape {self.shapes}."
        off = f"off by {self.deviation:.2g} of its scale; {self.bound:.2g} is allowed"
        return f"{first}, {off}."


class Pair(NamedTuple):
    """One layer of both sides, its rows in the same order; empty arrays for what is missing."""

    name: str
    actual: LayerRecord
    expected: LayerRecord


def layer_pairs(actual: Update, expected: Update) -> Iterator[Pair]:
    """The layers that both sides recorded, in the expected side's order, one at a time."""
    records = {str(name): record for name, record in (actual.activations or {}).items()}
    order = _to_order(actual, expected)
    for name, theirs in layers_of(expected.activations):
        if name not in records:
            continue
        ((_, mine),) = layers_of({name: records[name]})
        yield Pair(name, _in_order(mine, order, theirs), theirs)


def _to_order(actual: Update, expected: Update) -> np.ndarray | None:
    """The order that brings the actual rows into the expected ones'; None if they are in it."""
    if actual.batch is None or expected.batch is None:
        return None
    order = to_order(actual.batch, expected.batch)
    return None if np.array_equal(order, np.arange(len(order))) else order


def first_of(leaves: Leaves) -> Array | None:
    """The leaf that stands for a layer: its first."""
    return next((np.asarray(leaf) for leaf in leaves.values()), None)


def parting_layer(
    actual: Update, expected: Update, tolerance: float | None = None
) -> Parting | None:
    """The first layer that parts in recordings: forward, or else backward; None if none does.

        |actual - expected| <= (fraction + 32 * eps) * max |expected|

    with the fraction that `compare` allows of the distance travelled. Memory: one layer.
    """
    partings = []
    for pair in layer_pairs(actual, expected):
        forward = _parting(pair, "forward", tolerance)
        if forward is not None:
            return forward
        partings.append(_parting(pair, "backward", tolerance))
    return next((parting for parting in reversed(partings) if parting is not None), None)


def shapes_differ(name: str, direction: Direction, ours: Array, theirs: Array) -> Parting | None:
    """The parting of a layer whose shapes are not the same; ValueError if only the axes' order is
    another."""
    if ours.shape == theirs.shape:
        return None
    if sorted(ours.shape) == sorted(theirs.shape):
        raise ValueError(
            f"A layer has one layout on both sides; '{name}' is {describe(ours)} in actual and "
            f"{describe(theirs)} in expected. Turn it as it is recorded, as "
            "jaxgd.interop.activations.channels_second does, or leave it out."
        )
    told = f"{describe(ours)}, not {describe(theirs)}"
    return Parting(name, direction, float("inf"), 0.0, told)


def _parting(pair: Pair, direction: Direction, tolerance: float | None) -> Parting | None:
    part = "output" if direction == "forward" else "gradient"
    ours, theirs = (first_of(getattr(side, part)) for side in (pair.actual, pair.expected))
    if ours is None or theirs is None:
        return None
    if (shaped := shapes_differ(pair.name, direction, ours, theirs)) is not None:
        return shaped
    scale = float(np.abs(np.where(np.isfinite(theirs), theirs, 0)).max(initial=0.0))
    deviation = largest_difference(ours, theirs) / (scale or 1.0)
    bound = _bound(max((ours, theirs), key=lambda a: _eps(a.dtype)).dtype, tolerance)
    return Parting(pair.name, direction, deviation, bound) if deviation > bound else None


def _bound(dtype: np.dtype, tolerance: float | None) -> float:
    if dtype.kind in "biu":
        return 0.0
    return (FixedTolerance(tolerance).of(dtype) or 0.0) + _ROUNDINGS * _eps(dtype)


def _eps(dtype: np.dtype) -> float:
    return 0.0 if dtype.kind in "biu" else float(finfo(dtype).eps)


def _in_order(record: LayerRecord, order: np.ndarray | None, beside: LayerRecord) -> LayerRecord:
    if order is None:
        return record
    parts = (
        {path: along_rows(np.asarray(x), order, _array(others.get(path))) for path, x in p.items()}
        for p, others in zip(record, beside, strict=True)
    )
    return LayerRecord(*parts)


def _array(leaf: Array | None) -> Array | None:
    return None if leaf is None else np.asarray(leaf)
