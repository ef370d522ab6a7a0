"""Self-attention with packed projections, as torch's MultiheadAttention has them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer

# Scores of one form at a time, and rows of the batch: what one row shows, the others do.
_MOST_SCORES, _ROWS = 2**24, 4


@dataclass(frozen=True)
class Attention:
    """softmax(q kᵀ · scale) v, head by head, projected."""

    heads: int
    batch_first: bool
    causal: bool = False
    power: float = -0.5  # scale = (width of a head) ** power
    of_all: bool = False  # ... the width of all heads
    interleaved: bool = False  # a head is every heads-th number, not neighbours
    order: str = "qkv"
    transposed: bool = False  # the output's square weight
    biases: bool = True

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        x = layer.x if self.batch_first else layer.x.swapaxes(0, 1)
        p, width = layer.params, layer.x.shape[-1]
        packed = x @ p["in_proj_weight"].T
        if self.biases and "in_proj_bias" in p:
            packed = packed + p["in_proj_bias"]
        parts = dict(zip(self.order, map(self._split, np.split(packed, 3, axis=-1)), strict=True))
        scale = float(width if self.of_all else width // self.heads) ** self.power
        q, k, v = (parts[name].swapaxes(1, 2) for name in "qkv")  # [b, h, l, d]
        scores = (q * scale) @ k.swapaxes(2, 3)
        if self.causal:
            scores += np.where(np.tri(*scores.shape[-2:]) > 0, 0.0, -np.inf)
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ v).swapaxes(1, 2).reshape(x.shape)
        out = p["out_proj.weight"]
        y = mixed @ (out if self.transposed else out.T)
        if self.biases and "out_proj.bias" in p:
            y = y + p["out_proj.bias"]
        return y if self.batch_first else y.swapaxes(0, 1)

    def some_rows(self, layer: Layer) -> Layer:
        """A few rows of the batch, which know nothing of one another."""
        axis = 0 if self.batch_first else 1
        rows, length, width = layer.x.shape[axis], layer.x.shape[1 - axis], layer.x.shape[2]
        kept = min(rows, _ROWS, max(1, _MOST_SCORES // (width * length**2 or 1)))
        at = np.linspace(0, rows - 1, kept).astype(int)
        x, output = (array.take(at, axis) for array in (layer.x, layer.output))
        return layer._replace(x=x, output=output)

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """The scale, the heads, the mask, the order of the projections, the biases."""
        yield "the scores are not scaled", replace(self, power=0.0)(layer)
        yield (
            "the scores are divided by a head's width, not its root",
            replace(self, power=-1.0)(layer),
        )
        if self.heads > 1:
            whole = replace(self, of_all=True)
            yield "the scores are divided by the root of all heads' width", whole(layer)
            yield "the heads are interleaved", replace(self, interleaved=True)(layer)
        masked = "no causal mask" if self.causal else "a causal mask"
        yield masked, replace(self, causal=not self.causal)(layer)
        for heads in _heads(layer.x, self.batch_first):
            if heads != self.heads:
                yield f"{heads} heads, not {self.heads}", replace(self, heads=heads)(layer)
        for order in map("".join, permutations(self.order)):
            if order != self.order:
                told = f"the projections are packed as {', '.join(order)}"
                yield told, replace(self, order=order)(layer)
        yield "the output's square weight is transposed", replace(self, transposed=True)(layer)
        yield "the biases are missing", replace(self, biases=False)(layer)

    def _split(self, part: Array) -> Array:
        shape = (*part.shape[:2], self.heads, part.shape[2] // self.heads)
        if self.interleaved:
            return part.reshape(*shape[:2], shape[3], self.heads).swapaxes(2, 3)
        return part.reshape(shape)


def attention_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer with packed projections."""
    packed, x = layer.params.get("in_proj_weight"), layer.x
    if packed is None or x.ndim != 3 or layer.output.shape != x.shape:
        return
    if packed.shape != (3 * x.shape[-1], x.shape[-1]) or "out_proj.weight" not in layer.params:
        return
    for batch_first in (True, False):
        for heads in _heads(x, batch_first):
            for causal in (False, True):
                yield Attention(heads, batch_first, causal)


def _heads(x: Array, batch_first: bool) -> list[int]:
    """The divisors of the width for which one row's scores can be held."""
    length, width = x.shape[1 if batch_first else 0], x.shape[2]
    most = min(width, _MOST_SCORES // (length**2 or 1))
    return [heads for heads in range(1, most + 1) if width % heads == 0]
