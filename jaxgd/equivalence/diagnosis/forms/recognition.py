"""What a layer of the reference is, and what the other side made of it instead."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from jaxgd.equivalence.diagnosis.forms.attention import attention
from jaxgd.equivalence.diagnosis.forms.convolutions import convolutions
from jaxgd.equivalence.diagnosis.forms.elementwise import elementwise
from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer, factor_of, rms, short
from jaxgd.equivalence.diagnosis.forms.norms import norms
from jaxgd.equivalence.diagnosis.forms.pooling import pooling
from jaxgd.equivalence.diagnosis.forms.products import products
from jaxgd.equivalence.diagnosis.forms.recurrent import recurrent

FAMILIES: tuple[Callable[[Layer], Iterator[Form]], ...] = (
    elementwise, products, norms, convolutions, pooling, recurrent, attention,
)  # fmt: skip

# A form gives a recorded output if no number is farther off than so many roundings of the largest.
_ROUNDINGS = 32.0

# Another implementation of the same formula may round so many times as much as the reference does,
# in the root of the mean square; every other formula must be so many times as far off as that.
_OTHER_ROUNDING = 4.0
_CLEARLY = 3.0

# The recognition takes some passes over the layer in float64.
_LARGEST = 2**24

_COARSER: Mapping[str, Any] = {"bfloat16": bfloat16, "float16": np.float16}


@np.errstate(all="ignore")
def layer_cause(expected: Layer, ours: Layer, eps: float) -> str | None:
    """The one known difference that explains the output that our side made of its own input.

    The reference's layer is recognised by its formula; a difference is named if it gives our output
    to the rounding that the reference itself has, while the formula as it is and every other
    difference are clearly farther off.

    expected, ours: in float64, of numbers that were computed with a machine epsilon of `eps`.
    """
    actual = ours.output
    if max(ours.x.size, expected.output.size, actual.size) > _LARGEST or not actual.size:
        return None
    form = recognised(expected, eps)
    if form is None:
        return _of_any_layer(expected, ours, eps)
    noise = max(rms(expected.output - form(expected)), eps * rms(expected.output) / 2)
    honest = form(ours)
    if actual.shape == honest.shape and rms(actual - honest) <= _CLEARLY * noise:
        return None
    layer = ours._replace(output=expected.output)
    left: dict[str, float] = {}
    for told, predicted in form.changes(layer, actual):
        if predicted.shape == actual.shape:
            left[told] = min(rms(actual - predicted), left.get(told, np.inf))
            if _gives(predicted, actual, eps) and left[told] <= _OTHER_ROUNDING * noise:
                left.setdefault("", 0.0)  # at least one fits
    if "" not in left:
        return _of_any_layer(expected._replace(output=honest), ours, eps)
    del left[""]
    first, *others = sorted(left, key=left.__getitem__)
    alone = all(left[other] >= _CLEARLY * max(left[first], noise) for other in others)
    return first if alone else None


@np.errstate(all="ignore")
def recognised(layer: Layer, eps: float) -> Form | None:
    """The form that gives the layer's output best, if one does to rounding."""
    best, least = None, np.inf
    for family in FAMILIES:
        for form in family(layer):
            try:
                predicted = form(layer)
            except ValueError:  # its shapes do not go together
                continue
            if _gives(predicted, layer.output, eps) and rms(predicted - layer.output) < least:
                best, least = form, rms(predicted - layer.output)
    return best


def _gives(predicted: Array, target: Array, eps: float) -> bool:
    if predicted.shape != target.shape:
        return False
    allowed = _ROUNDINGS * eps * np.abs(target).max(initial=0.0)
    return bool(np.abs(predicted - target).max(initial=0.0) <= allowed)


def _of_any_layer(expected: Layer, ours: Layer, eps: float) -> str | None:
    """What any layer may suffer: one factor, or a coarser precision."""
    output, actual = expected.output, ours.output
    if actual.shape != output.shape or rms(ours.x - expected.x) > eps * rms(expected.x):
        return None
    for name, dtype in _COARSER.items():
        coarse = [np.array_equal(a, a.astype(dtype).astype(np.float64)) for a in (actual, output)]
        near = rms(actual - output) <= _CLEARLY * 2.0**-8 * rms(output)
        if coarse == [True, False] and near:
            return f"the output is rounded to {name}"
    factor = factor_of(actual, output)
    if factor is None or short(factor) in ("1", "0") or not _gives(factor * output, actual, eps):
        return None
    if rms(factor * output - actual) > _OTHER_ROUNDING * eps * rms(actual):
        return None
    return f"the output is {factor:.6g} times as large"
