"""What a layer of the reference is, and what the other side made of it instead."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from jaxgd.equivalence.diagnosis.forms.attention import Attention, attention_forms
from jaxgd.equivalence.diagnosis.forms.convolutions import convolution_forms
from jaxgd.equivalence.diagnosis.forms.elementwise import elementwise_forms
from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer, factor_of, rms, short
from jaxgd.equivalence.diagnosis.forms.norms import norm_forms
from jaxgd.equivalence.diagnosis.forms.pooling import pooling_forms
from jaxgd.equivalence.diagnosis.forms.products import product_forms
from jaxgd.equivalence.diagnosis.forms.recurrent import recurrent_forms

FAMILIES: tuple[Callable[[Layer], Iterator[Form]], ...] = (
    elementwise_forms,
    product_forms,
    norm_forms,
    convolution_forms,
    pooling_forms,
    recurrent_forms,
    attention_forms,
)

# A form gives a recorded output if no number is farther off than so many roundings of the largest.
_ROUNDINGS = 32.0

# Another implementation of the same formula may round so many times as much as the reference does,
# in the root of the mean square; every other formula must be so many times as far off as that.
_OTHER_ROUNDING = 4.0
_CLEARLY = 3.0
_MOVED = 2.0

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
    if max(ours.x.size, expected.output.size, ours.output.size) > _LARGEST or not ours.output.size:
        return None
    form = recognised(expected, eps)
    if form is None:
        alike = ours.x.shape == expected.x.shape and _gives(ours.x, expected.x, eps)
        return _of_any_layer(expected, ours, eps) if alike else None
    if isinstance(form, Attention):
        if ours.x.shape != expected.x.shape or ours.output.shape != expected.output.shape:
            return None
        expected, ours = form.some_rows(expected), form.some_rows(ours)
    actual = ours.output
    noise = _noise(form, expected, eps) * max(1.0, rms(actual) / (rms(expected.output) or 1.0))
    honest = form(ours)
    if actual.shape == honest.shape and rms(actual - honest) <= _CLEARLY * noise:
        return None
    found = _alone(form, expected, ours, noise, eps)
    if found == "":
        return _of_any_layer(expected._replace(output=honest), ours, eps)
    return found


def _noise(form: Form, layer: Layer, eps: float) -> float:
    """What rounding does to the layer, by the reference itself."""
    return max(rms(layer.output - form(layer)), eps * rms(layer.output) / 2)


def _alone(form: Form, expected: Layer, ours: Layer, noise: float, eps: float) -> str | None:
    """The one difference that gives our output; None if several do, and "" if none does.

    A difference may round more than the formula as it is: by as much as its own output moves with
    an input that is moved by some roundings.
    """
    signs = np.random.default_rng(0).choice([-_MOVED, _MOVED], ours.x.shape)
    moved = ours._replace(x=ours.x * (1 + eps * signs)) if not _whole(ours.x) else ours
    layer, beside = (side._replace(output=expected.output) for side in (ours, moved))
    left: dict[str, float] = {}
    rounding: dict[str, float] = {}
    fitting = set()
    both = zip(form.changes(layer, ours.output), form.changes(beside, ours.output), strict=False)
    for (told, predicted), (other, rounded) in both:
        if predicted.shape != ours.output.shape:
            continue
        same = told == other and predicted.shape == rounded.shape
        own = max(noise, rms(predicted - rounded) if same else 0.0)
        misfit = rms(ours.output - predicted)
        if misfit < left.get(told, np.inf):
            left[told], rounding[told] = misfit, own
        if misfit <= _OTHER_ROUNDING * own and _gives(predicted, ours.output, eps * own / noise):
            fitting.add(told)
    if not fitting:
        return ""
    first, *others = sorted(left, key=left.__getitem__)
    least = _CLEARLY * max(left[first], noise)
    return first if first in fitting and all(left[other] >= least for other in others) else None


def _whole(array: Array) -> bool:
    return bool(np.array_equal(array, np.rint(array)))


@np.errstate(all="ignore")
def recognised(layer: Layer, eps: float) -> Form | None:
    """The form that gives the layer's output best, if one does to rounding."""
    best, least = None, np.inf
    for family in FAMILIES:
        for form in family(layer):
            seen = form.some_rows(layer) if isinstance(form, Attention) else layer
            try:
                predicted = form(seen)
            except ValueError:  # its shapes do not go together
                continue
            if _gives(predicted, seen.output, eps) and rms(predicted - seen.output) < least:
                best, least = form, rms(predicted - seen.output)
    return best


def _gives(predicted: Array, target: Array, eps: float) -> bool:
    if predicted.shape != target.shape:
        return False
    allowed = _ROUNDINGS * eps * np.abs(target).max(initial=0.0)
    return bool(np.abs(predicted - target).max(initial=0.0) <= allowed)


def _of_any_layer(expected: Layer, ours: Layer, eps: float) -> str | None:
    """What any layer may suffer: one factor, or a coarser precision."""
    output, actual = expected.output, ours.output
    if actual.shape != output.shape:
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
