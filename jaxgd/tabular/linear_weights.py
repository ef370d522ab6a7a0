"""What a linear model makes of each feature."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.models import Linear
from jaxgd.tabular.model import Model


class Coefficients(NamedTuple):
    """The weights of the scaled features, one a feature or one a class of it, and the intercept.

    `features` has their names, those of the largest weights first; `outputs` are the names of the
    columns of `weights`: the class that a positive weight speaks for, or the target.
    """

    features: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Float[np.ndarray, "d k"]
    intercept: Float[np.ndarray, "k"]


def coefficients(model: Model) -> Coefficients | None:
    """The coefficients of a linear model; None for another.

        output_j = Σ_i weights_ij · (feature_i - mean_i) / scale_i + intercept_j

    The output is the logit of the second class, the logits of all classes, or the scaled target.
    """
    if not isinstance(model.params, Linear):
        return None
    w, b = np.asarray(model.params.w), np.asarray(model.params.b)
    weights, target = w.reshape(len(w), -1), model.schema.target
    largest = np.argsort(-np.abs(weights).max(axis=1), kind="stable")
    outputs = {"binary": target.classes[1:], "multiclass": target.classes}
    return Coefficients(
        tuple(model.schema.features[i] for i in largest),
        outputs.get(target.task, (target.name,)),
        weights[largest],
        b.reshape(-1),
    )
