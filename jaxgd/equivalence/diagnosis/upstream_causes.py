"""Causes upstream of the optimizer: other rows in a batch, another loss or gradient of them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_dtypes import finfo

from jaxgd.equivalence.comparison.leaf_by_leaf import compare
from jaxgd.equivalence.recordings.batch import batch_leaves, row_count, same_rows
from jaxgd.equivalence.recordings.column import Column
from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of
from jaxgd.equivalence.recordings.update import Recording, Update, gradient_of, stage

Batches = Sequence[Any]

# A factor fits any one number; it takes some more, and it must explain nearly all that differs.
_EVIDENCE = 8
_LEFT = 0.1

# A gradient so many roundings of the largest one is rounding itself.
_NULL = 32.0


def batch_cause(actual: Recording, expected: Recording, at: int) -> str | None:
    """Why update `at`, counted from 0, is the first to see other rows; None if that is unknown."""
    ours, theirs = ([update.batch for update in side] for side in (actual, expected))
    if _skips(ours, theirs, at):
        return "the last, smaller batch is dropped"
    if _skips(theirs, ours, at):
        return "the last, smaller batch is not dropped"
    if (size := _other_size(ours, theirs)) is not None:
        return size
    ends = range(at + 1, min(len(ours), len(theirs)) + 1)
    if any(same_rows(ours[at:end], theirs[at:end]) for end in ends):
        return "the rows come in another order"
    return None


def gradient_cause(actual: Recording, expected: Recording, at: int, parted: str) -> str | None:
    """Why the loss or the gradient of update `at` parts; None if that is unknown."""
    ours, theirs = actual[at], expected[at]
    if parted not in ("loss", "gradient"):
        return None
    if parted == "gradient" and (count := _added_up(ours, theirs)):
        return f"the gradients of {count} micro-batches are added up, not averaged"
    # A loss that agrees was reduced alike: its gradient's factor comes from elsewhere.
    reduced_alike = parted == "gradient" and None not in (ours.loss, theirs.loss)
    causes = [
        name
        for name, factor in ([] if reduced_alike else _reductions(expected, at))
        if _same(gradient_of(ours), gradient_of(theirs), factor)
        and (parted == "gradient" or _same(_loss(ours), _loss(theirs), factor))
    ]
    left, right = gradient_of(ours), gradient_of(theirs)
    if parted == "gradient" and at and _same(left, right, 1.0, actual[at - 1]):
        causes.append("added to the gradient of the update before")
    if not causes:
        return _rescaled(ours, theirs, parted)
    return causes[0] if len(causes) == 1 else None


def _added_up(ours: Update, theirs: Update) -> int:
    """Of how many micro-batches our gradient is the sum, and theirs the mean; 0 if it is not."""
    if ours.parts is None:
        return 0
    parts: dict[str, list[np.ndarray]] = {}
    for path, leaf in leaves_of(ours.parts, "parts").items():
        parts.setdefault(path.partition(".")[2], []).append(leaf)
    count = len(next(iter(parts.values()), []))
    added = {path: np.sum([*map(np.asarray, leaves)], axis=0, dtype=leaves[0].dtype)
             for path, leaves in parts.items()}  # fmt: skip
    ours_are, theirs_are = gradient_of(ours), gradient_of(theirs)
    if count < 2 or added.keys() != ours_are.keys():
        return 0
    summed = _same(ours_are, added, 1.0) and _same(ours_are, theirs_are, float(count))
    return count if summed else 0


def _rescaled(ours: Update, theirs: Update, parted: str) -> str | None:
    """One factor of every number of the gradient, and of the loss if that parts."""
    left, right = gradient_of(ours), gradient_of(theirs)
    if _same(left, right, 1.0):
        return None
    if parted == "loss":
        left["loss"], right["loss"] = _loss(ours), _loss(theirs)
    factor = _factor(left, right)
    if factor is None or not all(_explains(factor, left[path], right[path]) for path in right):
        return None
    return f"the {parted} is {factor:.6g} times as large"


def _factor(left: Leaves, right: Leaves) -> float | None:
    """The one factor by which `right` best gives `left`; None if too few numbers tell."""
    product, square, numbers = 0.0, 0.0, 0
    for path, leaf in right.items():
        for ours, theirs in _blocks(left[path], leaf):
            product += float((ours * theirs).sum())
            square += float((theirs * theirs).sum())
            numbers += int(np.count_nonzero(theirs))
    return product / square if square and numbers >= _EVIDENCE else None


def _explains(factor: float, ours: Any, theirs: Any) -> bool:
    """Whether the factor leaves next to nothing of a leaf's difference."""
    left_over = largest = np.float64(0)
    for a, b in _blocks(ours, theirs):
        left_over = np.maximum(left_over, np.abs(a - factor * b).max(initial=0.0))
        largest = np.maximum(largest, np.abs(b).max(initial=0.0))
    return bool(left_over <= _LEFT * abs(factor - 1) * largest)


def _blocks(ours: Any, theirs: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two leaves of one shape in float64, some numbers at a time."""
    left, right = Column([ours]), Column([theirs])
    for first, last in right.places():
        a, b = (column.block(first, last)[0].astype(np.float64) for column in (left, right))
        yield a, b


def _other_size(ours: Batches, theirs: Batches) -> str | None:
    """Another batch size, if the first batches of both sides hold the same rows all the same."""
    if not ours or not theirs:
        return None
    size, wanted = (max(map(row_count, side)) for side in (ours, theirs))
    both = math.lcm(size, wanted)
    left, right = ours[: both // size], theirs[: both // wanted]
    rows = [sum(map(row_count, side)) for side in (left, right)]
    if size == wanted or rows != [both, both] or not same_rows(left, right):
        return None
    return f"the batch size is {size}, not {wanted}"


def _loss(update: Update) -> np.ndarray:
    """The loss in the gradient's precision, which a Python number does not tell."""
    dtypes = [leaf.dtype for leaf in leaves_of(update.gradient, "gradient").values()]
    (loss,) = leaves_of(update.loss, "loss").values()
    return np.asarray(loss).astype(np.result_type(*dtypes))


def _skips(ours: Batches, theirs: Batches, at: int) -> bool:
    """Whether our side leaves out their smaller batch and goes on with what follows on it."""
    if at >= len(theirs) or row_count(theirs[at]) >= max(map(row_count, theirs)):
        return False
    if at + 1 == len(theirs):
        return at == len(ours)
    return at < len(ours) and same_rows(ours[at : at + 1], theirs[at + 1 : at + 2])


def _reductions(recording: Recording, at: int) -> Iterator[tuple[str, float]]:
    """The ways to reduce a batch's losses to one that first show in update `at`, as factors."""
    batches = stage(recording, "batch")
    if batches is None:
        return
    rows, full = row_count(batches[at]), max(map(row_count, batches))
    if rows < full:
        yield "a smaller batch is averaged as if it were full", rows / full
    if at > 0:  # the others show in every update
        return
    yield "summed over the batch, not averaged", float(rows)
    yield "averaged over the batch, not summed", 1 / rows
    outputs = recording[at].outputs
    yield from _over_tokens(batches[at], outputs, rows)
    numbers = sum(leaf.size for leaf in leaves_of(outputs, "outputs").values())
    width = max(numbers // rows, 1)
    if width > 1:
        yield "summed over the outputs of a row, not averaged", float(width)
        yield "averaged over the outputs of a row, not summed", 1 / width
        yield "summed over the batch and the outputs, not averaged", float(rows * width)
        yield "averaged over the batch and the outputs, not summed", 1 / (rows * width)


def _over_tokens(batch: Any, outputs: Any, rows: int) -> Iterator[tuple[str, float]]:
    """The ways to reduce losses of tokens, where the outputs are [rows, tokens, classes]."""
    shapes = [leaf.shape for leaf in leaves_of(outputs, "outputs").values()]
    if [len(shape) for shape in shapes] != [3]:
        return
    tokens = shapes[0][1]
    yield "summed over the tokens of a row, not averaged", float(tokens)
    yield "averaged over the tokens of a row, not summed", 1 / tokens
    yield "summed over the batch and the tokens, not averaged", float(rows * tokens)
    yield "averaged over the batch and the tokens, not summed", 1 / (rows * tokens)
    targets = [
        leaf
        for leaf in batch_leaves(batch).values()
        if leaf.dtype.kind in "iu" and leaf.shape == shapes[0][:2]
    ]
    for ignored in (-100, 0):
        kept = {float((leaf != ignored).mean()) for leaf in targets} - {0.0, 1.0}
        for share in kept:
            yield f"divided by all tokens, those of padding ({ignored}) too", share
            yield f"divided by the tokens that are no padding ({ignored})", 1 / share


def _rounding_alone(leaves: Leaves) -> set[str]:
    """The leaves that are rounding of the largest: a bias before a normalization."""
    sizes = {path: float(np.abs(leaf).max(initial=0.0)) for path, leaf in leaves.items()}
    least = _NULL * max((_eps(leaf.dtype) for leaf in leaves.values()), default=0.0)
    return {path for path, size in sizes.items() if size < least * max(sizes.values())}


def _eps(dtype: np.dtype) -> float:
    return 0.0 if dtype.kind in "biu" else float(finfo(dtype).eps)


def _same(actual: Any, expected: Any, factor: float, before: Update | None = None) -> bool:
    """Whether actual = factor * expected, plus the gradient before if given, to rounding."""
    left, right = (leaves_of(tree, "tree") for tree in (actual, expected))
    for path in _rounding_alone(left) & _rounding_alone(right):
        del left[path], right[path]
    if not right:
        return False
    earlier = {} if before is None else gradient_of(before)
    scaled = {path: _scaled(leaf, factor, earlier.get(path)) for path, leaf in right.items()}
    return compare([left], [scaled]).parted_at is None


def _scaled(leaf: Any, factor: float, before: Any) -> Any:
    scaled = np.asarray(leaf) * leaf.dtype.type(factor)
    return scaled if before is None else scaled + np.asarray(before)
