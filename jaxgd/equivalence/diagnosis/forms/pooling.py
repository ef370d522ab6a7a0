"""Layers that make fewer numbers of more: pooling windows, and reductions of whole axes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jaxgd.equivalence.diagnosis.forms.form import Array, Form, Layer

_LARGEST = 7  # windows
_REDUCTIONS = ("mean", "sum", "largest")


@dataclass(frozen=True)
class Pool:
    """The mean or the largest of each window, the same along every axis of space."""

    kind: str  # "mean" or "largest"
    window: int
    stride: int
    low: int = 0
    high: int = 0
    counts_padding: bool = True
    channels_last: bool = False
    rolled: int = 0

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        x = np.moveaxis(layer.x, -1, 1) if self.channels_last else layer.x
        space = tuple(range(2, x.ndim))
        pooled = self._pooled(np.roll(x, self.rolled, space), space)
        if self.kind == "mean":
            counted = np.ones_like(x[:1, :1])
            whole = float(self.window ** len(space))
            pooled = pooled / (whole if self.counts_padding else self._pooled(counted, space))
        return np.moveaxis(pooled, 1, -1) if self.channels_last else pooled

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """What is counted, the kind, the window, the padding, where the windows begin."""
        for told, changed in self._changed():
            try:
                yield told, changed(layer)
            except ValueError:  # no window fits
                continue

    def _changed(self) -> Iterator[tuple[str, "Pool"]]:
        if self.kind == "mean" and self.low + self.high:
            yield (
                "the pool's mean leaves out the padding (count_include_pad)"
                if self.counts_padding
                else "the pool's mean counts the padding (count_include_pad)",
                replace(self, counts_padding=not self.counts_padding),
            )
        other = "largest" if self.kind == "mean" else "mean"
        yield f"the windows' {other}, not their {self.kind}", replace(self, kind=other)
        for roll in (-1, 1):
            yield "the windows are shifted by one", replace(self, rolled=roll)
        for window in range(1, _LARGEST + 1):
            if window != self.window:
                told = f"the window is {window} wide, not {self.window}"
                yield told, replace(self, window=window)
        for stride in range(1, self.window + 2):
            if stride != self.stride:
                yield f"the stride is {stride}, not {self.stride}", replace(self, stride=stride)
        for low in range(self.window):
            for high in range(self.window):
                if (low, high) != (self.low, self.high):
                    told = (
                        f"padded by {low} and {high}, not by {self.low} and {self.high}"
                        if low != high or self.low != self.high
                        else f"padded by {low}, not by {self.low}"
                    )
                    yield told, replace(self, low=low, high=high)

    def _pooled(self, x: Array, space: tuple[int, ...]) -> Array:
        empty = 0.0 if self.kind == "mean" else -np.inf
        pads = [(0, 0), (0, 0), *[(self.low, self.high)] * len(space)]
        padded = np.pad(x, pads, constant_values=empty)
        windows = sliding_window_view(padded, [self.window] * len(space), axis=space)
        windows = windows[(slice(None),) * 2 + (slice(None, None, self.stride),) * len(space)]
        within = tuple(range(x.ndim, windows.ndim))
        return windows.sum(within) if self.kind == "mean" else windows.max(within)


@dataclass(frozen=True)
class Reduction:
    """The mean, sum or largest over some axes."""

    kind: str
    axes: tuple[int, ...]

    def __call__(self, layer: Layer) -> Array:
        """The output."""
        x, axes = layer.x, self.axes
        reduced = x.max(axes) if self.kind == "largest" else x.sum(axes)
        return (reduced / self._count(x) if self.kind == "mean" else reduced).reshape(
            layer.output.shape
        )

    def _count(self, x: Array) -> float:
        return float(np.prod([x.shape[axis] for axis in self.axes]))

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:  # noqa: ARG002
        """Another one of them; of one axis, its first or last."""
        for kind in _REDUCTIONS:
            if kind != self.kind:
                yield (
                    f"the {kind} over the axes, not the {self.kind}",
                    replace(self, kind=kind)(layer),
                )
        if len(self.axes) == 1:
            for told, at in (("first", 0), ("last", -1)):
                taken = np.take(layer.x, at, self.axes[0]).reshape(layer.output.shape)
                yield f"the {told} of the axis, not its {self.kind}", taken


def pooling_forms(layer: Layer) -> Iterator[Form]:
    """The forms of a layer without parameters whose output is smaller than its input."""
    x, y = layer.x, layer.output
    if layer.params or x.ndim < 2 or y.size >= x.size:
        return
    for count in (1, 2, 3):
        for axes in combinations(range(1, x.ndim), count):
            if np.delete(np.array(x.shape), axes).prod() == y.size:
                yield from (Reduction(kind, axes) for kind in _REDUCTIONS)
    if x.ndim != y.ndim or x.ndim < 3:
        return
    for last in (False, True):
        channel = -1 if last else 1
        if x.shape[channel] == y.shape[channel]:
            sides, spans = (a.shape[1:-1] if last else a.shape[2:] for a in (x, y))
            yield from _windows(sides, spans, last)


def _windows(sides: tuple[int, ...], spans: tuple[int, ...], last: bool) -> Iterator[Pool]:
    for window in range(1, min(_LARGEST, max(sides)) + 1):
        for stride in range(1, window + 1):
            for low in range(window // 2 + 1):
                for high in (low, low + 1):
                    made = [(n + low + high - window) // stride + 1 for n in sides]
                    if made != [*spans]:
                        continue
                    pool = Pool("mean", window, stride, low, high, channels_last=last)
                    yield replace(pool, kind="largest")
                    yield pool
                    if low + high:
                        yield replace(pool, counts_padding=False)
