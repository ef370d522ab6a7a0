"""Layers that multiply by a matrix: dense layers, and embeddings, which take rows of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer

# The significant bits of a factor, as accelerators round them.
ROUNDED: Final = MappingProxyType(
    {"the factors are rounded to bfloat16": 8, "the factors are rounded to TensorFloat-32": 11}
)


def to_bits(array: Array, bits: int | None) -> Array:
    """The array, rounded to so many significant bits."""
    if bits is None:
        return array
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


@dataclass(frozen=True)
class Dense:
    """x W + b, or x Wᵀ + b."""

    transposed: bool  # the weight is [out, in]
    biases: int  # how often the bias is added
    bits: int | None = None

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        weight = layer.params["weight"]
        matrix = weight.T if self.transposed else weight
        y = to_bits(layer.x, self.bits) @ to_bits(matrix, self.bits)
        return y + self.biases * layer.params["bias"] if self.biases else y

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """The bias, the square weight, the factors' rounding."""
        weight = layer.params["weight"]
        if self.biases:
            yield "the bias is missing", replace(self, biases=0)(layer)
            yield "the bias is added twice", replace(self, biases=2)(layer)
        elif "bias" in layer.params:
            yield "a bias is added", replace(self, biases=1)(layer)
        if weight.shape[0] == weight.shape[1]:
            swapped = replace(self, transposed=not self.transposed)
            yield "the square weight is transposed", swapped(layer)
        for name, bits in ROUNDED.items():
            yield name, replace(self, bits=bits)(layer)


@dataclass(frozen=True)
class Embedding:
    """The rows of W, or their mean, sum or largest over the second axis."""

    kind: str

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        return self._of(layer.params["weight"], layer)

    def _of(self, weight: Array, layer: Layer) -> Array:
        rows = weight[layer.x.astype(np.int64)]
        if self.kind == "the rows themselves":
            return rows
        if self.kind == "the largest":
            return rows.max(axis=1)
        return rows.mean(axis=1) if self.kind == "the mean" else rows.sum(axis=1)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """Another reduction; a row that counts as zero, or is left out of the mean; a scale."""
        bags = ("the mean", "the sum", "the largest")
        for other in bags if self.kind in bags else ():
            if other != self.kind:
                yield f"{other} of a bag's rows, not {self.kind}", replace(self, kind=other)(layer)
        weight = layer.params["weight"]
        for padding in (0, len(weight) - 1):
            if not (layer.x == padding).any():
                continue
            zeroed = weight.copy()
            zeroed[padding] = 0.0
            told = f"row {padding} is padding (padding_idx): zero"
            yield told, self._of(zeroed, layer)
            if self.kind == "the mean":
                kept = (layer.x != padding).sum(axis=1, keepdims=True)
                mean = self._of(zeroed, layer) * layer.x.shape[1] / np.maximum(kept, 1)
                yield f"row {padding} is padding (padding_idx): left out of the mean", mean
        width = weight.shape[1]
        for told, factor in (("times", width**0.5), ("divided by", width**-0.5)):
            yield f"the embedding is {told} the root of its width", factor * self(layer)


def product_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer with one matrix."""
    weight = layer.params.get("weight")
    if weight is None or weight.ndim != 2 or layer.x.ndim == 0:
        return
    if np.array_equal(layer.x, np.rint(layer.x)) and _within(layer.x, len(weight)):
        yield from map(Embedding, ("the rows themselves", "the mean", "the sum", "the largest"))
    biases = (1, 0) if "bias" in layer.params else (0,)
    for transposed in (True, False):
        if layer.x.shape[-1] == weight.shape[1 if transposed else 0]:
            yield from (Dense(transposed, times) for times in biases)


def _within(x: Array, rows: int) -> bool:
    return bool(x.size and x.min() >= 0 and x.max() < rows)
