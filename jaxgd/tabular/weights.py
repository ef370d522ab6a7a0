"""What each row counts in the loss of a table's model."""

from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.objective import Loss
from jaxgd.tabular.table import Table
from jaxgd.tabular.target import Target

ClassWeight = Literal["balanced"]


class WeightedPart(NamedTuple):
    """Some rows and their weights, of mean 1 over the rows to train on."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    weight: Float[np.ndarray, "n"]


def row_weights(
    table: Table,
    target: Target,
    y: np.ndarray,
    train_rows: Int[np.ndarray, "m"],
    class_weight: ClassWeight | None,
    sample_weight: str | None,
) -> Float[np.ndarray, "n"] | None:
    """Every row's weight, of mean 1 over the rows to train on; None if none was asked for.

        w_i = s_i · m / (k · m_c),   s_i from the column, m_c rows of its class among the m

    "balanced" is scikit-learn's: each class counts as much as any other.

    Raises ValueError for weights that are negative or all 0, and for class weights of a regression.
    """
    if class_weight is None and sample_weight is None:
        return None
    weights = np.ones(len(table))
    if sample_weight is not None:
        weights = table.numbers(sample_weight)
        table.refuse(sample_weight, weights < 0, "negative", "A weight must be at least 0.")
    if class_weight is not None:
        if target.task == "regression":
            raise ValueError(
                "class weights are of classes; the target is a regression. Name a column of "
                "weights with sample_weight."
            )
        counts = np.bincount(y[train_rows], minlength=len(target.classes))
        weights = weights * (len(train_rows) / (len(counts) * np.maximum(counts, 1)))[y]
    mean = weights[train_rows].mean()
    if mean == 0:
        raise ValueError(f"the weights in column {sample_weight!r} of {table.source} are all 0.")
    return weights / mean


def weighted(loss: Loss) -> Loss:
    """The loss of one example (x, y, weight): weight · loss(params, (x, y))."""

    def weighted_loss(params: PyTree, example: Any) -> Float[Array, ""]:
        x, y, weight = example
        return weight * loss(params, (x, y))

    return weighted_loss
