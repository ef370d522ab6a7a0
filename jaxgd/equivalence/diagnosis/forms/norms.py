"""Normalizations: over features, over the batch, over each example's channels, in groups."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jaxgd.equivalence.diagnosis.forms.form import EVIDENCE, Array, Form, Layer, rms, short

_USUAL_EPS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)

_ROUNDED_ALIKE = 2.0


@dataclass(frozen=True)
class Norm:
    """w (x - mean) / √(variance + eps) + b."""

    over: str  # "features", "batch", "channels", "groups" or "running"
    channel: int = -1  # the axis of the channels
    groups: int = 1
    eps: float = 1e-5
    centred: bool = True
    unbiased: bool = False
    eps_outside: bool = False
    biased: bool = True  # whether b is added
    weighted: bool = True
    sure: bool = True  # whether no other eps gives the layer's output as well

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        centred, variance = self._moments(layer)
        root = np.sqrt(variance) + self.eps if self.eps_outside else np.sqrt(variance + self.eps)
        return self._with_bias(centred / root, layer)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:
        """eps, its place, the variance's divisor, what is normalized over, the affine parts."""
        found = self.fitted(layer, actual)
        if found is not None and found.eps != self.eps:
            instead = f", not {short(self.eps)}" if self.sure else ""
            value = short(found.eps) + instead if found.sure else "another"
            yield f"the norm's eps is {value}", found(layer)
        outside = "outside" if not self.eps_outside else "inside"
        moved = replace(self, eps_outside=not self.eps_outside)
        yield f"the norm's eps is {outside} the root", moved(layer)
        divisor = "biased, divided by n" if self.unbiased else "unbiased, divided by n - 1"
        if self.over != "running":
            other = replace(self, unbiased=not self.unbiased)
            yield f"the norm's variance is {divisor}", other(layer)
            told = "the norm takes no mean away" if self.centred else "the norm takes the mean away"
            yield told, replace(self, centred=not self.centred)(layer)
        if "bias" in layer.params:
            yield "the norm's bias is missing", replace(self, biased=not self.biased)(layer)
        if "weight" in layer.params:
            yield "the norm's weight is missing", replace(self, weighted=not self.weighted)(layer)
        for other in _places(layer):
            if (other.over, other.channel, other.groups) != (self.over, self.channel, self.groups):
                same = replace(self, over=other.over, channel=other.channel, groups=other.groups)
                yield f"normalized over {same.where}, not over {self.where}", same(layer)

    @property
    def where(self) -> str:
        """What is normalized over, in words."""
        if self.over == "groups":
            return f"{self.groups} groups of channels"
        return {
            "features": "the features", "batch": "the batch", "channels": "each channel alone",
            "running": "the running statistics",
        }[self.over]  # fmt: skip

    def fitted(self, layer: Layer, target: Array) -> "Norm | None":
        """With the eps that best gives the target; a usual one where no other is as good."""
        if self.eps_outside or target.size < EVIDENCE:
            return None
        eps, uncertain = self._least_squares(layer, target)
        near = [usual for usual in _USUAL_EPS if abs(usual - eps) <= max(0.02 * usual, uncertain)]
        if len(near) == 1:
            return replace(self, eps=near[0], sure=True)
        return replace(self, eps=eps, sure=not near and 0 <= uncertain < 0.1 * eps)

    def _least_squares(self, layer: Layer, target: Array) -> tuple[float, float]:
        """The eps that leaves the least, and how far off it may be: infinitely, if any will do.

        Rounding does not average out: where eps is a few units of the variance's last digit, their
        sum is rounded alike in every row. All that is left may be that.
        """
        centred, variance = self._moments(layer)
        shift = self._with_bias(np.zeros_like(centred), layer)
        numerator = self._with_bias(centred, layer) - shift
        eps, least = self.eps, float(variance.min(initial=np.inf))
        for _ in range(20):
            root = np.sqrt(variance + eps)
            slope = -0.5 * numerator / root**3
            square = float((slope * slope).sum())
            if not square > 0:
                return 0.0, np.inf
            left = target - shift - numerator / root
            eps = max(eps + float((slope * left).sum()) / square, -0.5 * least)
        return eps, _ROUNDED_ALIKE * rms(left) * (target.size / square) ** 0.5

    def _moments(self, layer: Layer) -> tuple[Array, Array]:
        """What is divided, and the variance that it is divided by the root of."""
        x = layer.x
        if self.over == "running":
            mean, variance = (
                _along(layer.params[name], x, self.channel)
                for name in ("running_mean", "running_var")
            )
            return x - mean, np.broadcast_to(variance, x.shape)
        moved, axes = self._grouped(layer)
        centred = moved - moved.mean(axis=axes, keepdims=True) if self.centred else moved
        count = float(np.prod([moved.shape[axis] for axis in axes]))
        variance = (centred**2).sum(axis=axes, keepdims=True)
        variance = variance / (max(count - 1, 1) if self.unbiased else count)
        back = (np.broadcast_to(a, moved.shape) for a in (centred, variance))
        centred, variance = (self._ungrouped(a, x) for a in back)
        return centred, variance

    def _grouped(self, layer: Layer) -> tuple[Array, tuple[int, ...]]:
        x = layer.x
        if self.over == "features":
            weight = layer.params.get("weight")
            last = 1 if weight is None else weight.ndim
            return x, tuple(range(x.ndim - last, x.ndim))
        moved = np.moveaxis(x, self.channel, 1)
        if self.over == "batch":
            return moved, (0, *range(2, x.ndim))
        groups = moved.shape[1] if self.over == "channels" else self.groups
        split = moved.reshape(len(x), groups, -1, *moved.shape[2:])
        return split, tuple(range(2, split.ndim))

    def _ungrouped(self, array: Array, x: Array) -> Array:
        if self.over == "features":
            return array
        return np.moveaxis(array.reshape(np.moveaxis(x, self.channel, 1).shape), 1, self.channel)

    def _with_bias(self, normalized: Array, layer: Layer) -> Array:
        weight, bias = layer.params.get("weight"), layer.params.get("bias")
        if weight is not None and self.weighted:
            normalized = normalized * self._broadcast(weight, normalized)
        if bias is not None and self.biased:
            normalized = normalized + self._broadcast(bias, normalized)
        return normalized

    def _broadcast(self, vector: Array, x: Array) -> Array:
        return vector if self.over == "features" else _along(vector, x, self.channel)


def norm_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer whose output has its input's shape, its eps fitted to the output."""
    x, y = layer.x, layer.output
    if x.shape != y.shape or x.ndim < 2 or x.size < EVIDENCE:
        return
    weight = layer.params.get("weight")
    if weight is None and (x == y).all():
        return
    for place in _places(layer):
        for centred in (True, False) if place.over in ("features", "groups") else (True,):
            for unbiased in (False, True) if place.over != "running" else (False,):
                norm = replace(place, centred=centred, unbiased=unbiased)
                found = norm.fitted(layer, y)
                if found is not None:
                    yield found


def _places(layer: Layer) -> Iterator[Norm]:
    """What may be normalized over, as far as the shapes allow."""
    x, weight = layer.x, layer.params.get("weight")
    if weight is None or weight.shape == x.shape[x.ndim - weight.ndim :]:
        yield Norm("features")
    if weight is not None and weight.ndim != 1:
        return
    for channel in dict.fromkeys((1, x.ndim - 1)):
        width = x.shape[channel]
        if weight is not None and weight.shape != (width,):
            continue
        yield Norm("batch", channel)
        if "running_var" in layer.params:
            yield Norm("running", channel)
        if x.ndim > 2:
            yield Norm("channels", channel)
        for groups in range(1 if x.ndim > 2 else 2, width):  # one of a row's is all its features
            if width % groups == 0:
                yield Norm("groups", channel, groups)


def _along(vector: Array, x: Array, channel: int) -> Array:
    """The vector, one number a channel, in a shape that goes with x."""
    shape = [1] * x.ndim
    shape[channel] = -1
    return vector.reshape(shape)
