"""What is wrong with a hypergradient, in words."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgd.study.smoothness import Smoothness

# A ratio of what a step does to what was foretold, or an agreement, below which it is told.
_LEAST_RATIO, _MOST_RATIO, _LEAST_AGREEMENT = 0.5, 2.0, 0.5


def remarks_of(
    value: float, gradient: Mapping[str, Any], smoothness: Mapping[str, Smoothness]
) -> tuple[str, ...]:
    """A sentence or two for every gradient that is zero, not finite, explodes or is not smooth.

    The last two only of names whose figures are given.
    """
    if not np.isfinite(value):
        return (
            f"the validation loss after the run is {value}: the run diverged, and there is no "
            "gradient. Use a smaller learning rate.",
        )
    return tuple(_found(value, gradient, smoothness))


def tell(remarks: Sequence[str]) -> None:
    """Each as a UserWarning of whoever called the function that found it."""
    for remark in remarks:
        warnings.warn(remark, UserWarning, stacklevel=3)


def _found(
    value: float, gradient: Mapping[str, Any], smoothness: Mapping[str, Smoothness]
) -> Iterator[str]:
    for name, tree in gradient.items():
        leaves = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        lost = int(np.sum(~np.isfinite(leaves)))
        if lost:
            yield (
                f"{lost} of {leaves.size} numbers of the gradient in {name} are not finite, though "
                "the loss is: a root, a norm or a logarithm at 0 has no slope. Adam's root has "
                "one with an eps_root above 0."
            )
        elif not leaves.any():
            yield (
                f"the gradient in {name} is exactly zero: the run does not depend on it, or only "
                "by what has no slope, such as rounding, a comparison or a sign."
            )
        elif name in smoothness:
            yield from _of_steps(name, value, smoothness[name])


def _of_steps(name: str, value: float, figures: Smoothness) -> Iterator[str]:
    _, predicted, ratio, agreement = figures
    if abs(predicted) > abs(value):
        yield (
            f"the gradient in {name} explodes: it says that a step of 1 % changes the loss of "
            f"{value:.3g} by {predicted:.3g}, and it is {ratio:.2g} times that. Use fewer epochs, "
            "or a smaller learning rate."
        )
    elif not (_LEAST_RATIO < ratio < _MOST_RATIO and agreement > _LEAST_AGREEMENT):
        yield (
            f"the run is not smooth in {name}: a step of 1 % changes the loss {ratio:.2g} times as "
            f"much as the gradient says, and a second one agrees with it by {agreement:.2g} "
            "(1: wholly). Do not extrapolate from it."
        )
