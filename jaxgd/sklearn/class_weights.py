"""What each class counts in the loss of a classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int


def by_class(
    class_weight: Any,
    classes: np.ndarray,
    y: Int[np.ndarray, "n"],
    weights: Float[np.ndarray, "n"] | None,
) -> Float[np.ndarray, "k"]:
    """The weight of each class: as told, 1 where nothing is told of it, or "balanced":

        w_c = m / (k · m_c),   m_c rows of class c, as they are weighed, of m in all

    Raises ValueError for other words, and for a class that is none of them.
    """
    if class_weight == "balanced":
        counts = np.bincount(y, weights=weights, minlength=len(classes))
        return counts.sum() / (len(classes) * np.where(counts, counts, np.inf))
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f'class_weight must be "balanced", a dict or None; got class_weight={class_weight!r}.'
        )
    place = {label: i for i, label in enumerate(classes.tolist())}
    if unknown := [label for label in class_weight if label not in place]:
        raise ValueError(
            f"class_weight must be of the classes {list(place)}; got a weight of {unknown[0]!r}."
        )
    out = np.ones(len(classes))
    for label, weight in class_weight.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"a class's weight must be at least 0; got {label!r}: {weight}.")
        out[place[label]] = weight
    return out
