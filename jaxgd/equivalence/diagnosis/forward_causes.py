"""Why a layer's output parts: what the layer computes, or what it is given."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import finfo

from jaxgd.equivalence.diagnosis.first_layer import Pair, first_of, layer_pairs
from jaxgd.equivalence.diagnosis.forms.form import EVIDENCE, Layer, factor_of, short
from jaxgd.equivalence.diagnosis.forms.recognition import layer_cause, recognised
from jaxgd.equivalence.recordings.pytree import leaves_of
from jaxgd.equivalence.recordings.update import Update

Array = Shaped[np.ndarray, "..."]

# The names of parameters in other frameworks, by torch's.
_ALIASES = MappingProxyType(
    {
        "kernel": "weight", "w": "weight", "embedding": "weight", "embeddings": "weight",
        "scale": "weight", "b": "bias", "offset": "bias", "mean": "running_mean",
        "var": "running_var",
    }
)  # fmt: skip

# Two arrays are one and the same, to rounding.
_ROUNDINGS = 64.0


def forward_cause(actual: Update, expected: Update, parting: str) -> str | None:
    """Why layer `parting` is the first to part; None if that is unknown.

    Each layer up to it is judged by its own input and output: a small difference may lie in one
    before, and be within what is allowed there.
    """
    pairs = [*layer_pairs(actual, expected)]
    until = next((i for i, pair in enumerate(pairs) if pair.name == parting), len(pairs) - 1)
    found = own_cause(pairs[: until + 1], actual, expected)
    return found or (between_layers(pairs[: until + 1], pairs) if pairs else None)


def own_cause(pairs: Iterable[Pair], actual: Update, expected: Update) -> str | None:
    """What the first layer computes otherwise of its own input; None if that is unknown."""
    causes = ((pair.name, _of_layer(pair, actual, expected)) for pair in pairs)
    return next((f"in '{name}', {cause}" for name, cause in causes if cause is not None), None)


def parameters_of(name: str, update: Update) -> dict[str, Array]:
    """A layer's own parameters and buffers in float64, by torch's names."""
    name = name.partition("#")[0]
    found: dict[str, Array] = {}
    for tree in (update.params, update.buffers):
        for path, leaf in leaves_of({} if tree is None else tree, "params").items():
            own = path[len(name) + 1 :] if path.startswith((f"{name}.", f"{name}/")) else ""
            if own:
                found[_ALIASES.get(own, own)] = np.asarray(leaf).astype(np.float64)
    return found


def _of_layer(pair: Pair, actual: Update, expected: Update) -> str | None:
    theirs, output = first_of(pair.expected.inputs), first_of(pair.expected.output)
    made = first_of(pair.actual.output)
    if theirs is None or output is None or made is None:
        return None
    ours = first_of(pair.actual.inputs)
    if ours is None or ours.shape != theirs.shape:
        ours = theirs
    params, own = (parameters_of(pair.name, side) for side in (expected, actual))
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in params.items()}:
        own = params
    eps = max(_eps(output), _eps(made))
    wide = [array.astype(np.float64) for array in (theirs, output, ours, made)]
    return layer_cause(Layer(wide[0], params, wide[1]), Layer(wide[2], own, wide[3]), eps)


_Glue = Callable[[Array], Array]
_OF_ANOTHER: Mapping[str, _Glue] = MappingProxyType(
    {
        "the output of {}": lambda y: y,
        "{} flattened": lambda y: y.reshape(len(y), -1),
        "{} flattened with its second axis last": lambda y: np.moveaxis(y, 1, -1).reshape(
            len(y), -1
        ),
        "{} flattened with its last axis second": lambda y: np.moveaxis(y, -1, 1).reshape(
            len(y), -1
        ),
        "{} with its last two axes exchanged": lambda y: y.swapaxes(-1, -2),
        "the first of {} along the second axis": lambda y: y[:, 0],
        "the last of {} along the second axis": lambda y: y[:, -1],
        "the mean of {} over the second axis": lambda y: y.mean(1),
        "the sum of {} over the second axis": lambda y: y.sum(1),
        "the largest of {} over the second axis": lambda y: y.max(1),
    }
)


def between_layers(before: list[Pair], pairs: list[Pair]) -> str | None:
    """Why the last layer of `before` is given another input; None if that is unknown.

    It is told only if exactly one thing that was recorded of another layer explains the input.
    """
    last = before[-1]
    wanted, given = first_of(last.expected.inputs), first_of(last.actual.inputs)
    if wanted is None or given is None or _same(given, wanted):
        return None
    told = {*_another_order(last, pairs, given, wanted)}
    told = told or {*_taken_otherwise(before[:-1], given, wanted)}
    told = told or {*_added(before[:-1], given, wanted)}
    told = told or {*_unrecorded(last, before[:-1])}
    if not told and given.shape == wanted.shape and given.size >= EVIDENCE:
        factor = factor_of(*(a.astype(np.float64) for a in (given, wanted)))
        if factor is not None and short(factor) != "1" and _same(given, factor * wanted):
            told = {f"it is given {factor:.6g} times its input"}
    return f"in '{last.name}', {told.pop()}" if len(told) == 1 else None


def _another_order(last: Pair, pairs: list[Pair], given: Array, wanted: Array) -> Iterator[str]:
    """Two layers that come in the other order."""
    for other in pairs:
        if other.name == last.name:
            continue
        entered, left = first_of(other.expected.inputs), first_of(other.expected.output)
        ours = first_of(other.actual.inputs)
        if entered is None or left is None:
            continue
        if _same(given, entered) and _same(wanted, left):
            yield f"it comes before '{other.name}', not after it"
        after = first_of(last.expected.output)
        if ours is not None and after is not None and _same(ours, wanted) and _same(entered, after):
            yield f"it comes after '{other.name}', not before it"


def _taken_otherwise(before: list[Pair], given: Array, wanted: Array) -> Iterator[str]:
    """Another part of an earlier output, or another layer's."""
    for other in before:
        output = first_of(other.expected.output)
        if output is None or output.ndim < 2:
            continue
        of = f"'{other.name}'"
        made = {told.format(of): glue(output) for told, glue in _OF_ANOTHER.items()}
        theirs = [told for told, array in made.items() if _same(wanted, array)]
        ours = [told for told, array in made.items() if _same(given, array)]
        if ours and theirs:
            yield f"it is given {ours[0]}, not {theirs[0]}"
        elif ours:
            yield f"it is given {ours[0]}"


def _unrecorded(last: Pair, before: list[Pair]) -> Iterator[str]:
    """A function between two layers that is no layer of its own, of the nearest output before."""
    made = [[first_of(side.inputs)] for side in (last.expected, last.actual)]
    for other in reversed(before):
        for of, side in zip(made, (other.expected, other.actual), strict=True):
            of[1:] = [first_of(side.output)]
        (theirs, entered), (ours, given) = made
        if theirs is None or ours is None or entered is None or given is None:
            continue
        eps = max(_eps(theirs), _eps(ours))
        wide = [a.astype(np.float64) for a in (entered, theirs, given, ours)]
        pair = Layer(wide[0], {}, wide[1]), Layer(wide[2], {}, wide[3])
        if recognised(pair[0], eps) is not None:
            cause = layer_cause(*pair, eps)
            if cause is not None:
                yield f"what it is given of '{other.name}': {cause}"
            return


def _added(before: list[Pair], given: Array, wanted: Array) -> Iterator[str]:
    """An earlier layer's output that is missing in the sum, or too much: a residual."""
    if given.shape != wanted.shape:
        return
    for other in before:
        output = first_of(other.expected.output)
        if output is None or output.shape != wanted.shape:
            continue
        if _same(given + output, wanted):
            yield f"the output of '{other.name}' is missing in the sum that it is given"
        elif _same(given, wanted + output):
            yield f"the output of '{other.name}' is added to what it is given"


def _same(ours: Array, theirs: Array) -> bool:
    """Whether two arrays are the same to rounding."""
    if ours.shape != theirs.shape:
        return False
    eps = max(_eps(ours), _eps(theirs))
    left, right = ours.astype(np.float64), theirs.astype(np.float64)
    allowed = _ROUNDINGS * eps * np.abs(right).max(initial=0.0)
    return bool(np.abs(left - right).max(initial=0.0) <= allowed)


def _eps(array: Array) -> float:
    return 0.0 if array.dtype.kind in "biu" else float(finfo(array.dtype).eps)
