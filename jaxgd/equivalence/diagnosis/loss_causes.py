"""Why the loss, or its gradient, parts though the outputs agree."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import finfo

from jaxgd.equivalence.diagnosis.first_layer import first_of, layer_pairs
from jaxgd.equivalence.diagnosis.forms.form import factor_of, rms, short
from jaxgd.equivalence.recordings.batch import batch_leaves
from jaxgd.equivalence.recordings.layers import LayerRecord, layers_of
from jaxgd.equivalence.recordings.pytree import leaves_of
from jaxgd.equivalence.recordings.update import Update, gradient_of

Array = Shaped[np.ndarray, "..."]

_USUAL_SMOOTHING = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_ROUNDINGS = 32.0
_LEFT = 0.01  # of a difference, what an explanation may leave beyond rounding


def smoothing_cause(actual: Update, expected: Update) -> str | None:
    """Labels that are smoothed on one side, where the loss is a mean cross entropy.

    By the gradient with respect to the logits where a layer's is recorded; by the loss alone, only
    one of the usual sizes.
    """
    found = _logits_and_targets(expected)
    if found is None or actual.loss is None or expected.loss is None:
        return None
    logits, targets = found
    log = logits - logits.max(-1, keepdims=True)
    log = log - np.log(np.exp(log).sum(-1, keepdims=True))
    plain = float(-np.take_along_axis(log, targets[..., None], -1).mean())
    uniform = float(-log.mean())
    losses = [_number(update.loss) for update in (actual, expected)]
    eps = _eps_of(expected)
    near = _ROUNDINGS * eps * max(abs(plain), abs(uniform))
    for forgotten in (False, True):
        ours, theirs = losses[::-1] if forgotten else losses
        if abs(theirs - plain) > near or uniform == plain:
            continue
        size = (ours - plain) / (uniform - plain)
        uncertain = 2 * near / abs(uniform - plain)
        by_gradient = _by_gradient(actual, expected, logits, targets, eps)
        if by_gradient is None:
            usual = [s for s in _USUAL_SMOOTHING if abs(s - size) <= max(uncertain, 1e-6)]
            return _smoothed(usual[0], forgotten) if len(usual) == 1 else None
        wanted = -by_gradient if forgotten else by_gradient
        agrees = abs(wanted - size) <= max(uncertain, 1e-3 * abs(size))
        return _smoothed(wanted, forgotten) if agrees and 0 < size < 1 else None
    return None


def _smoothed(size: float, forgotten: bool) -> str:
    told = f"label smoothing of {short(size)}"
    return f"no {told}" if forgotten else told


def flow_cause(actual: Update, expected: Update) -> str | None:
    """A gradient that does not reach a parameter, on one way or on all; None if that is unknown.

    Known: one leaf alone parts, and it gets nothing; or all but one row of it agrees, which gets
    nothing on one side (padding_idx); or it lacks, or has beside, exactly the part of one layer
    whose input and output's gradient are recorded (a weight that is tied on one side alone).
    """
    ours, theirs = gradient_of(actual), gradient_of(expected)

    def both(path: str) -> tuple[Array, Array]:  # one leaf at a time: the others may lie on disk
        return _widened(ours[path]), _widened(theirs[path])

    eps = _eps_of(expected)
    largest = max((np.abs(_widened(theirs[path])).max(initial=0.0) for path in theirs), default=0.0)
    apart = [path for path in theirs if not _near(*both(path), eps, largest)]
    if not apart:
        return None
    if all(_is_silent(*both(path)) for path in apart):
        return f"no gradient reaches {', '.join(map(repr, apart[:3]))}"
    if len(apart) != 1:
        return None
    (path,) = apart
    row = _padded_row(path, *both(path), eps, largest)
    if row is not None:
        return row
    told = {*_through_layers(path, *both(path), expected, eps)}
    return told.pop() if len(told) == 1 else None


def _widened(leaf: object) -> Array:
    return np.asarray(leaf).astype(np.float64)


def _is_silent(ours: Array, theirs: Array) -> bool:
    return not ours.any() and bool(theirs.any())


def _padded_row(path: str, ours: Array, theirs: Array, eps: float, largest: float) -> str | None:
    if ours.ndim != 2:
        return None
    rows = [i for i in range(len(ours)) if not _near(ours[i], theirs[i], eps, largest)]
    if len(rows) != 1:
        return None
    if ours[rows[0]].any() and not theirs[rows[0]].any():
        return f"row {rows[0]} of '{path}' gets a gradient, and should get none (padding_idx)"
    if theirs[rows[0]].any() and not ours[rows[0]].any():
        return f"row {rows[0]} of '{path}' gets no gradient, and should get one (padding_idx)"
    return None


def _through_layers(
    path: str, ours: Array, theirs: Array, expected: Update, eps: float
) -> Iterator[str]:
    if ours.ndim != 2:
        return
    for name, record in layers_of(expected.activations):
        for part in _parts(record, ours.shape):
            if rms(theirs - part - ours) <= _ROUNDINGS * eps * rms(theirs):
                yield f"'{path}' gets no gradient through '{name}': it is not tied"
            elif rms(theirs + part - ours) <= _ROUNDINGS * eps * rms(ours):
                yield f"'{path}' gets a gradient through '{name}', too: it is tied"


def _parts(record: LayerRecord, shape: tuple[int, ...]) -> Iterator[Array]:
    """What a dense layer, or an embedding, gives to the gradient of a weight of that shape."""
    x, dy = first_of(record.inputs), first_of(record.gradient)
    if x is None or dy is None or dy.ndim < 2:
        return
    by_output = dy.reshape(-1, dy.shape[-1]).astype(np.float64)
    if x.dtype.kind in "iu" and x.size == len(by_output):
        if shape[1] == by_output.shape[1] and x.max(initial=0) < shape[0]:
            part = np.zeros(shape)
            np.add.at(part, x.ravel(), by_output)
            yield part
        return
    if x.ndim < 2 or x.size // x.shape[-1] != len(by_output):
        return
    part = by_output.T @ x.reshape(-1, x.shape[-1]).astype(np.float64)
    for product in (part, part.T):
        if product.shape == shape:
            yield product
            return


def _near(ours: Array, theirs: Array, eps: float, largest: float) -> bool:
    """To rounding of its own size, or of a thousandth of the largest gradient."""
    scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-3 * largest)
    return bool(np.abs(ours - theirs).max(initial=0.0) <= 4 * _ROUNDINGS * eps * scale)


def _by_gradient(
    actual: Update, expected: Update, logits: Array, targets: Array, eps: float
) -> float | None:
    """The smoothing, by the gradient with respect to the logits; NaN if it is no smoothing."""
    for pair in layer_pairs(actual, expected):
        output = first_of(pair.expected.output)
        ours, theirs = (first_of(side.gradient) for side in (pair.actual, pair.expected))
        if output is None or ours is None or theirs is None or output.shape != logits.shape:
            continue
        if not np.array_equal(output.astype(np.float64), logits):
            continue
        classes = logits.shape[-1]
        way = (np.eye(classes)[targets] - 1 / classes) / targets.size
        difference = ours.astype(np.float64) - theirs
        size = factor_of(difference, way)
        noise = _ROUNDINGS * eps * rms(theirs.astype(np.float64)) + _LEFT * rms(difference)
        return size if size is not None and rms(difference - size * way) <= noise else np.nan
    return None


def _logits_and_targets(update: Update) -> tuple[Array, Array] | None:
    """The one output, and the one array of whole numbers that can be its targets."""
    outputs = [*leaves_of(update.outputs, "outputs").values()] if update.outputs is not None else []
    if len(outputs) != 1 or update.batch is None or outputs[0].ndim < 2:
        return None
    logits = np.asarray(outputs[0]).astype(np.float64)
    targets = [
        leaf
        for leaf in map(np.asarray, batch_leaves(update.batch).values())
        if leaf.dtype.kind in "iu" and leaf.shape == logits.shape[:-1]
        if leaf.size and leaf.min() >= 0 and leaf.max() < logits.shape[-1]
    ]
    return (logits, targets[0].astype(np.int64)) if len(targets) == 1 else None


def _number(loss: object) -> float:
    (leaf,) = leaves_of(loss, "loss").values()
    return float(np.asarray(leaf))


def _eps_of(update: Update) -> float:
    dtypes = [leaf.dtype for leaf in gradient_of(update).values()]
    floats = [dtype for dtype in dtypes if dtype.kind not in "biu"]  # digests are bytes
    return max((float(finfo(dtype).eps) for dtype in floats), default=0.0)
