"""How well a target is predicted, in scikit-learn's measures, and how well a constant does."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxgd.tabular.target import Target

# A probability of 0 for what happened is an infinite loss: a class that was never trained on.
_NEVER = np.finfo(np.float64).tiny


class ByClass(NamedTuple):
    """Of each class k its precision, its recall, its rows, and as what these were predicted.

    A row is predicted as its most probable class, of two as the second above 1/2.
    """

    precision: Float[np.ndarray, "k"]
    recall: Float[np.ndarray, "k"]
    confusion: Int[np.ndarray, "k k"]


def measures(
    target: Target, y: np.ndarray, predicted: Float[np.ndarray, "n *k"]
) -> dict[str, float]:
    """The measures of predictions [n], or [n, k] of classes, by their names.

    Of two classes AUC, average precision, Brier score (of the second) and accuracy; of more the
    balanced accuracy and accuracy; of a regression, in the unit of y, RMSE, MAE and R². What is not
    defined, such as the AUC of rows of one class, is NaN.

    Departs from scikit-learn's: nothing but roundings, and NaN where these warn or raise.
    """
    if target.task == "regression":
        return _errors(y, predicted)
    best = predicted.argmax(axis=1)
    accuracy = float(np.mean(best == y))
    if target.task == "multiclass":
        rows = np.bincount(y)
        recall = np.bincount(y[best == y], minlength=len(rows))[rows > 0] / rows[rows > 0]
        return {"balanced accuracy": float(recall.mean()), "accuracy": accuracy}
    p = predicted[:, 1].astype(np.float64)
    brier = float(np.mean(np.square(p - y)))
    return _ranking(y, p) | {"Brier": brier, "accuracy": accuracy}


def _errors(y: Float[np.ndarray, "n"], predicted: Float[np.ndarray, "n"]) -> dict[str, float]:
    error, spread = predicted - y, float(np.sum(np.square(y - y.mean())))
    squares = np.square(error)
    return {
        "RMSE": float(np.sqrt(squares.mean())),
        "MAE": float(np.abs(error).mean()),
        "R²": 1 - float(squares.sum()) / spread if np.ptp(y) else float("nan"),
    }


def _ranking(y: Int[np.ndarray, "n"], p: Float[np.ndarray, "n"]) -> dict[str, float]:
    """How well the rows of class 1 rank above the others, at every threshold between two ranks.

    With t of all P rows of class 1 above a threshold, and f of all N others:

        AUC = Σ Δf (t + t before) / 2 / (P N),   average precision = Σ Δt t / (t + f) / P
    """
    order = np.argsort(-p, kind="stable")
    above = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1) + 1
    hits = np.cumsum(y[order], dtype=np.int64)[above - 1]
    misses, new = above - hits, np.diff(hits, prepend=0)
    area = np.sum(np.diff(misses, prepend=0) * (2 * hits - new)) / 2  # exact: of whole numbers
    with np.errstate(invalid="ignore"):
        return {
            "AUC": float(area / (hits[-1] * misses[-1])),
            "average precision": float(np.sum(new * (hits / above)) / hits[-1]),
        }


def by_class(target: Target, y: np.ndarray, predicted: Float[np.ndarray, "n k"]) -> ByClass:
    """Precision and recall by class; NaN for a class that is never predicted, or never there."""
    k = len(target.classes)
    pairs = np.bincount(y.astype(np.int64) * k + predicted.argmax(axis=1), minlength=k * k)
    confusion = pairs.reshape(k, k)
    with np.errstate(invalid="ignore"):
        precision, recall = (np.diag(confusion) / confusion.sum(axis=axis) for axis in (0, 1))
    return ByClass(precision, recall, confusion)


def constant_prediction(
    target: Target, y: np.ndarray, n: int, weights: Float[np.ndarray, "m"] | None = None
) -> Float[np.ndarray, "n *k"]:
    """For n rows the best prediction that is the same for all: the shares in y, or its mean."""
    if target.task == "regression":
        return np.full(n, np.average(y.astype(np.float64), weights=weights))
    shares = np.bincount(y, weights, minlength=len(target.classes))
    return np.tile(shares / shares.sum(), (n, 1))


def constant_loss(
    target: Target,
    train: np.ndarray,
    weights: Float[np.ndarray, "m"] | None = None,
    *,
    of: np.ndarray | None = None,
) -> float:
    """The mean loss of the prediction that is best constant for the targets to train on.

    Of these, as their rows are weighed, or `of` others: an entropy, or a mean square.
    """
    y, w = (train, weights) if of is None else (of, None)
    predicted = constant_prediction(target, train, 1, weights)[0]
    if target.task == "regression":
        return float(np.average(np.square(predicted - y.astype(np.float64)), weights=w))
    shares = constant_prediction(target, y, 1, w)[0]
    return float(-np.sum(shares * np.log(np.maximum(predicted, _NEVER))))
