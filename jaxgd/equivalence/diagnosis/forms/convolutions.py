"""Convolutions, in torch's layout and in the one that has the channels last."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer
from jaxgd.equivalence.diagnosis.forms.products import ROUNDED, to_bits

_LARGEST_STRIDE, _LARGEST_DILATION = 4, 2
_MODES = {"reflect": "reflected", "wrap": "circular", "edge": "the edge's"}


@dataclass(frozen=True)
class Convolution:
    """Windows of x times the kernel, plus the bias; the same along every axis of space."""

    stride: int
    low: int  # how many numbers are padded in front, and behind
    high: int
    dilation: int = 1
    channels_last: bool = False
    mode: str = "constant"
    flipped: bool = False
    swapped: str = ""  # axes of the kernel that are exchanged
    biases: int = 1
    bits: int | None = None

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        x, kernel = layer.x, layer.params["weight"]
        if self.channels_last:
            x, kernel = np.moveaxis(x, -1, 1), np.moveaxis(kernel, (-1, -2), (0, 1))
        kernel = self._as_mistaken(kernel)
        space = tuple(range(2, x.ndim))
        pads = [(0, 0), (0, 0), *[(self.low, self.high)] * len(space)]
        options: dict[str, Any] = {"mode": self.mode}
        x, kernel = np.pad(to_bits(x, self.bits), pads, **options), to_bits(kernel, self.bits)
        spans = [self.dilation * (k - 1) + 1 for k in kernel.shape[2:]]
        windows = sliding_window_view(x, spans, axis=space)
        at = (slice(None),) * 2 + (slice(None, None, self.stride),) * len(space)
        windows = windows[at + (slice(None, None, self.dilation),) * len(space)]
        y = np.concatenate(
            [_summed(part, of_group, len(space)) for part, of_group in _groups(windows, kernel)], 1
        )
        if self.biases:
            bias = layer.params["bias"].reshape(1, -1, *[1] * len(space))
            y = y + self.biases * bias
        return np.moveaxis(y, 1, -1) if self.channels_last else y

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """Padding, its place and size, the kernel's axes, the bias, the factors' rounding."""
        for told, changed in self._changed(layer):
            try:
                yield told, changed(layer)
            except ValueError:  # no window fits, or none to reflect
                continue

    def _changed(self, layer: Layer) -> Iterator[tuple[str, "Convolution"]]:
        total, kernel = self.low + self.high, layer.params["weight"]
        space = kernel.shape[:-2] if self.channels_last else kernel.shape[2:]
        if self.biases:
            yield "the bias is missing", replace(self, biases=0)
        for mode, told in _MODES.items() if total else ():
            yield f"the padding is {told}, not zeros", replace(self, mode=mode)
        for low in range(total + 1):
            if low != self.low:
                other = replace(self, low=low, high=total - low)
                yield f"padded by {other._used(layer)}, not by {self._used(layer)}", other
        for both in range(max(space) + 1):
            if (both, both) != (self.low, self.high):
                told = f"padded by {both}, not by {self.low}"
                yield told, replace(self, low=both, high=both)
        for stride in range(1, _LARGEST_STRIDE + 1):
            if stride != self.stride:
                yield f"the stride is {stride}, not {self.stride}", replace(self, stride=stride)
        yield "the kernel is flipped", replace(self, flipped=True)
        if len(space) == 2 and space[0] == space[1] > 1:
            yield "the kernel's rows and columns are exchanged", replace(self, swapped="space")
        between = kernel.shape[-2:] if self.channels_last else kernel.shape[:2]
        if between[0] == between[1] > 1:
            yield "the kernel's inputs and outputs are exchanged", replace(self, swapped="channels")
        for name, bits in ROUNDED.items():
            yield name, replace(self, bits=bits)

    def _used(self, layer: Layer) -> str:
        """The padding in front, and what the windows reach of that behind."""
        x, kernel = layer.x, layer.params["weight"]
        sides = x.shape[1:-1] if self.channels_last else x.shape[2:]
        spans = kernel.shape[:-2] if self.channels_last else kernel.shape[2:]
        reaches = [self.dilation * (k - 1) + 1 for k in spans]
        behind = 0
        for side, reach in zip(sides, reaches, strict=True):
            unused = (side + self.low + self.high - reach) % self.stride
            behind = max(behind, self.high - unused)
        return f"{self.low} and {behind}"

    def _as_mistaken(self, kernel: Array) -> Array:
        if self.flipped:
            kernel = kernel[
                (slice(None), slice(None), *[slice(None, None, -1)] * (kernel.ndim - 2))
            ]
        if self.swapped:
            kernel = kernel.swapaxes(*((2, 3) if self.swapped == "space" else (0, 1)))
        return kernel


def convolution_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer with a kernel, as far as the shapes allow."""
    kernel, x, y = layer.params.get("weight"), layer.x, layer.output
    if kernel is None or not 3 <= kernel.ndim <= 5 or not kernel.ndim == x.ndim == y.ndim:
        return
    for last in (False, True):
        width = x.shape[-1 if last else 1]
        inputs, outputs = kernel.shape[-2:] if last else kernel.shape[1::-1]
        if width % inputs or outputs % (width // inputs) or y.shape[-1 if last else 1] != outputs:
            continue
        sides, spans = (a.shape[1:-1] if last else a.shape[2:] for a in (x, y))
        space = kernel.shape[:-2] if last else kernel.shape[2:]
        for dilation in range(1, _LARGEST_DILATION + 1):
            reaches = [dilation * (k - 1) + 1 for k in space]
            for stride in range(1, _LARGEST_STRIDE + 1):
                for low, high in _paddings(sides, spans, reaches, stride):
                    yield Convolution(
                        stride, low, high, dilation, last, biases=int("bias" in layer.params)
                    )


def _paddings(
    sides: tuple[int, ...], spans: tuple[int, ...], reaches: list[int], stride: int
) -> Iterator[tuple[int, int]]:
    """The paddings that make the outputs so large: as much on both sides, or one more behind."""
    for low in range(max(reaches)):
        for high in (low, low + 1):
            made = [
                (side + low + high - reach) // stride + 1
                for side, reach in zip(sides, reaches, strict=True)
            ]
            if made == [*spans]:
                yield low, high


def _groups(windows: Array, kernel: Array) -> Iterator[tuple[Array, Array]]:
    groups = windows.shape[1] // kernel.shape[1]
    yield from zip(np.split(windows, groups, 1), np.split(kernel, groups, 0), strict=True)


def _summed(windows: Array, kernel: Array, space: int) -> Array:
    axes = [1, *range(2 + space, 2 + 2 * space)]
    product = np.tensordot(windows, kernel, (axes, [1, *range(2, 2 + space)]))
    return np.moveaxis(product, -1, 1)
