"""Why the statistics that a normalization keeps part: their momentum, their variance."""

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import finfo

from jaxgd.equivalence.diagnosis.first_layer import first_of
from jaxgd.equivalence.diagnosis.forms.form import EVIDENCE, factor_of, rms, short
from jaxgd.equivalence.recordings.layers import layers_of
from jaxgd.equivalence.recordings.pytree import Leaves, leaves_of
from jaxgd.equivalence.recordings.update import Update

Array = Shaped[np.ndarray, "..."]

_MOMENTA = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 0.003, 0.001)
_ROUNDINGS = 32.0
_VARIANCES = ("running_var", "var")


def buffer_cause(actual: Update, expected: Update) -> str | None:
    """Why the buffers after an update part; None if that is unknown."""
    if expected.buffers is None or expected.updated_buffers is None:
        return None
    before, wanted, ours = (
        _floats(tree)
        for tree in (expected.buffers, expected.updated_buffers, actual.updated_buffers)
    )
    if not before or before.keys() != wanted.keys() or wanted.keys() != ours.keys():
        return None
    return _momentum(before, wanted, ours) or _variance(before, wanted, ours, expected)


def _momentum(before: Leaves, wanted: Leaves, ours: Leaves) -> str | None:
    """All of them move by one factor more than they should."""
    theirs = np.concatenate([(wanted[path] - before[path]).ravel() for path in before])
    moved = np.concatenate([(ours[path] - before[path]).ravel() for path in before])
    if moved.size < EVIDENCE:
        return None
    factor = factor_of(moved, theirs)
    if factor is None or short(factor) == "1" or not _same(moved, factor * theirs, before, wanted):
        return None
    told = f"the running statistics move {factor:.4g} times as far"
    for small in _MOMENTA:
        for momentum in (small, 1 - small):
            if abs(factor * momentum - (1 - momentum)) < 1e-3 * (1 - momentum):
                return f"{told}: momentum {1 - momentum:g}, not {momentum:g}, of the new ones"
    return told


def _variance(before: Leaves, wanted: Leaves, ours: Leaves, expected: Update) -> str | None:
    """The variances alone part: divided by n, or by n - 1."""
    parting = [path for path in wanted if not _same(ours[path], wanted[path], before, wanted)]
    told = set()
    inputs = {name: first_of(record.inputs) for name, record in layers_of(expected.activations)}
    for path in parting:
        name, _, own = path.rpartition(".")
        x, mean_path = inputs.get(name), f"{name}.{own.replace('var', 'mean')}"
        if own not in _VARIANCES or x is None or mean_path not in before:
            return None
        told.add(_of_one(x.astype(np.float64), before, wanted, ours, (path, mean_path)))
    return told.pop() if len(told) == 1 else None


def _of_one(
    x: Array, before: Leaves, wanted: Leaves, ours: Leaves, paths: tuple[str, str]
) -> str | None:
    variance, mean = paths
    width = before[variance].size
    channel = next((axis for axis in (1, x.ndim - 1) if x.shape[axis] == width), None)
    if channel is None:
        return None
    axes = tuple(axis for axis in range(x.ndim) if axis != channel)
    count = x.size / width
    momentum = factor_of(wanted[mean] - before[mean], x.mean(axes) - before[mean])
    if momentum is None and width:  # fewer channels than a factor takes: the usual ones
        momentum = _usual(wanted[mean] - before[mean], x.mean(axes) - before[mean])
    if momentum is None:
        return None
    kinds = {"biased, divided by n": x.var(axes), "unbiased, divided by n - 1": x.var(axes, ddof=1)}
    made = {kind: (1 - momentum) * before[variance] + momentum * var for kind, var in kinds.items()}
    fitting = [
        [kind for kind, array in made.items() if _same(side[variance], array, before, wanted)]
        for side in (wanted, ours)
    ]
    if [len(kinds) for kinds in fitting] != [1, 1] or fitting[0] == fitting[1] or count <= 1:
        return None
    return f"the running variance is {fitting[1][0]}"


def _usual(moved: Array, way: Array) -> float | None:
    square = float((way * way).sum())
    fitted = float((moved * way).sum()) / square if square else 0.0
    return next((m for m in _MOMENTA if abs(m - fitted) < 1e-3 * m), None)


def _floats(tree: object) -> Leaves:
    return {
        path: np.asarray(leaf).astype(np.float64)
        for path, leaf in leaves_of({} if tree is None else tree, "buffers").items()
        if leaf.dtype.kind not in "biu"
    }


def _same(ours: Array, theirs: Array, before: Leaves, wanted: Leaves) -> bool:
    """To rounding of the largest number, in float32 if all of them are."""
    single = all(np.array_equal(leaf, leaf.astype(np.float32)) for leaf in wanted.values())
    eps = float(finfo(np.float32 if single else np.float64).eps)
    scale = max(float(np.abs(leaf).max(initial=0.0)) for leaf in (*before.values(), theirs))
    return rms(ours - theirs) <= _ROUNDINGS * eps * scale
