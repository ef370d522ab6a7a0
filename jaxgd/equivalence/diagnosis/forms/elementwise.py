"""Activation functions, and dropout: the output has the input's shape."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from jaxgd.equivalence.diagnosis.forms.form import EVIDENCE, Array, Form, Layer, factor_of, short

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _tanh_gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _selu(x: Array) -> Array:
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softmax(x: Array) -> Array:
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "the identity": lambda x: x,
        "ReLU": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": _sigmoid,
        "exact GELU": _gelu,
        "GELU by tanh": _tanh_gelu,
        "GELU by a sigmoid of 1.702 x": lambda x: x * _sigmoid(1.702 * x),
        "SiLU": lambda x: x * _sigmoid(x),
        "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "CELU of alpha 0.5": lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0) / 0.5)),
        "SELU": _selu,
        "softplus": lambda x: np.logaddexp(x, 0),
        "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
        "ReLU6": lambda x: np.clip(x, 0, 6),
        "hard sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
        "hard sigmoid of slope 0.2": lambda x: np.clip(x / 5 + 0.5, 0, 1),
        "hard tanh": lambda x: np.clip(x, -1, 1),
        "hard swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "softmax over the last axis": _softmax,
    }
)


@dataclass(frozen=True)
class Elementwise:
    """One of the functions."""

    name: str

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        return FUNCTIONS[self.name](layer.x)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:
        """Every other function."""
        yield from _other_functions(self.name, layer)
        slope = _slope(layer.x, actual)
        if slope is not None and slope not in (0.0, 1.0):
            leaky = Leaky(slope)
            yield f"{leaky.name}, not {self.name}", leaky(layer)


@dataclass(frozen=True)
class Leaky:
    """LeakyReLU, of a slope that was fitted."""

    slope: float

    @property
    def name(self) -> str:
        """As it is told."""
        return f"LeakyReLU of slope {short(self.slope)}"

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        return np.where(layer.x > 0, layer.x, self.slope * layer.x)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:
        """Another slope, or another function."""
        yield from _other_functions(self.name, layer)
        slope = _slope(layer.x, actual)
        if slope not in (None, 0.0, 1.0) and short(slope) != short(self.slope):
            told = f"the negative slope is {short(slope)}, not {short(self.slope)}"
            yield told, Leaky(slope)(layer)


@dataclass(frozen=True)
class Dropout:
    """A mask, and one scale of what it keeps."""

    scale: float

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        return np.where(layer.output == 0, 0.0, self.scale * layer.x)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:
        """Another scale with the same mask."""
        scale = factor_of(actual, np.where(layer.output == 0, 0.0, layer.x))
        if scale is not None and short(scale) != short(self.scale):
            told = f"dropout scales what it keeps by {short(scale)}, not by {short(self.scale)}"
            yield told, Dropout(scale)(layer)
        yield "nothing is dropped", layer.x


def elementwise_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer whose output has its input's shape, and which has no matrix."""
    x, y = layer.x, layer.output
    if x.shape != y.shape or x.ndim == 0 or any(p.ndim > 1 for p in layer.params.values()):
        return
    yield from map(Elementwise, FUNCTIONS)
    slope = _slope(x, y)
    if slope is not None:
        yield Leaky(slope)
    dropped = (y == 0) & (x != 0)
    scale = factor_of(y, np.where(y == 0, 0.0, x))
    if dropped.any() and scale is not None:
        yield Dropout(scale)


def _other_functions(name: str, layer: Layer) -> Iterator[tuple[str, Array]]:
    """The others; of two that are the same on what was given (ReLU, ReLU6), the first."""
    seen: set[bytes] = set()
    for other, function in FUNCTIONS.items():
        made = function(layer.x)
        if other != name and (content := made.tobytes()) not in seen:
            seen.add(content)
            yield f"{other}, not {name}", made


def _slope(x: Array, y: Array) -> float | None:
    """The slope of y in the negative x, if it has one there."""
    negative = x < 0
    if np.count_nonzero(negative) < EVIDENCE:
        return None
    return factor_of(y[negative], x[negative])
