"""How well a target is predicted, in scikit-learn's measures, and how well a constant does."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxgd.tabular.extras import extra
from jaxgd.tabular.target import Target

# A probability of 0 for what happened is an infinite loss: a class that was never trained on.
_NEVER = np.finfo(np.float64).tiny


class ByClass(NamedTuple):
    """Of each class k its precision, its recall, its rows, and as what these were predicted.

    A row is predicted as its most probable class, of two that of a probability of 1/2 or more.
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
    """
    metrics = extra("sklearn.metrics")
    varied = len(np.unique(y)) > 1
    if target.task == "regression":
        return {
            "RMSE": float(metrics.root_mean_squared_error(y, predicted)),
            "MAE": float(metrics.mean_absolute_error(y, predicted)),
            "R²": float(metrics.r2_score(y, predicted)) if varied else float("nan"),
        }
    best = predicted.argmax(axis=1)
    accuracy = float(np.mean(best == y))
    if target.task == "multiclass":
        balanced = metrics.recall_score(y, best, labels=np.unique(y), average="macro")
        return {"balanced accuracy": float(balanced), "accuracy": accuracy}
    p = predicted[:, 1].astype(np.float64)
    nan = float("nan")
    return {
        "AUC": float(metrics.roc_auc_score(y, p)) if varied else nan,
        "average precision": float(metrics.average_precision_score(y, p)) if y.any() else nan,
        "Brier": float(np.mean(np.square(p - y))),
        "accuracy": accuracy,
    }


def by_class(target: Target, y: np.ndarray, predicted: Float[np.ndarray, "n k"]) -> ByClass:
    """Precision and recall by class; NaN for a class that is never predicted, or never there."""
    metrics = extra("sklearn.metrics")
    labels, best = np.arange(len(target.classes)), predicted.argmax(axis=1)
    confusion = metrics.confusion_matrix(y, best, labels=labels)
    right = np.diag(confusion)
    precision, recall = (
        np.where(of > 0, right / np.maximum(of, 1), np.nan)
        for of in (confusion.sum(axis=0), confusion.sum(axis=1))
    )
    return ByClass(precision, recall, confusion)


def constant_prediction(target: Target, y: np.ndarray, n: int) -> Float[np.ndarray, "n *k"]:
    """For n rows the best prediction that is the same for all: the shares in y, or its mean."""
    if target.task == "regression":
        return np.full(n, y.mean(dtype=np.float64))
    shares = np.bincount(y, minlength=len(target.classes)) / len(y)
    return np.tile(shares, (n, 1))


def constant_loss(target: Target, y_train: np.ndarray, y: np.ndarray) -> float:
    """The mean loss on targets y of the prediction that is best constant for others."""
    predicted = constant_prediction(target, y_train, len(y))
    if target.task == "regression":
        return float(np.mean(np.square(predicted - y)))
    return float(-np.mean(np.log(np.maximum(predicted[np.arange(len(y)), y], _NEVER))))
