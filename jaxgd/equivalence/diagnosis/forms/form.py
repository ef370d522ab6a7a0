"""A form: a formula that gives a layer's output from its input and parameters, in float64.

A reference's layer is recognised by the form that gives its recorded output; a form then yields
the known differences between its implementations, each with the output that it would give.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

Array = Shaped[np.ndarray, "..."]

# How many numbers it takes to name a value that was fitted to them.
EVIDENCE = 8


class Layer(NamedTuple):
    """A layer of the reference: what it was given, its own parameters, what it made of them."""

    x: Array
    params: Mapping[str, Array]  # "weight", "bias", … whatever the framework calls them
    output: Array


@runtime_checkable
class Form(Protocol):
    """One formula."""

    def __call__(self, layer: Layer) -> Array:
        """The output."""

    def changes(self, layer: Layer, actual: Array) -> Iterator[tuple[str, Array]]:
        """The known differences, and the outputs they would give; values are fitted to `actual`."""


def factor_of(part: Array, whole: Array) -> float | None:
    """The one factor by which `whole` best gives `part`; None if too few numbers tell."""
    if np.count_nonzero(whole) < EVIDENCE:
        return None
    return float((part * whole).sum() / (whole * whole).sum())


def rms(array: Array) -> float:
    """The root of the mean square; 0 of nothing."""
    return float(np.sqrt(np.mean(array * array))) if array.size else 0.0


def short(value: float) -> str:
    """A fitted value as it is told."""
    return f"{value:.4g}"
