"""Measures held against scikit-learn's, by class too, and the constant prediction beside them."""

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxgd.tabular import Target
from jaxgd.tabular.metrics import by_class, constant_loss, constant_prediction, measures
from tests.tolerances import MEASURES_F64

RNG = np.random.default_rng(0)
N = 60
TARGETS = {
    "binary": Target("t", "binary", ("no", "yes")),
    "multiclass": Target("t", "multiclass", ("a", "b", "c")),
    "regression": Target("t", "regression"),
}


def drawn(target):
    k = len(target.classes)
    if not k:
        return RNG.normal(size=N), RNG.normal(size=N)
    return RNG.integers(k, size=N), RNG.dirichlet(np.ones(k), N)


@pytest.mark.parametrize("levels", [2, 7, 10**6])
@pytest.mark.parametrize("n", [2, 3, 400])
def test_two_classes_have_scikit_learns_measures(n, levels):
    """Of two levels most rows tie with others of both classes, of a million none."""
    for _ in range(20):
        y = RNG.permutation(np.append([0, 1], RNG.integers(2, size=n - 2)))
        p = (RNG.integers(levels, size=n) + 0.4) / levels
        found = measures(TARGETS["binary"], y, np.stack([1 - p, p], axis=1))
        expected = [
            sk.roc_auc_score(y, p),
            sk.average_precision_score(y, p),
            sk.brier_score_loss(y, p),
            sk.accuracy_score(y, p > 0.5),
        ]
        assert list(found) == ["AUC", "average precision", "Brier", "accuracy"]
        np.testing.assert_allclose(list(found.values()), expected, rtol=MEASURES_F64)


def test_more_classes_and_a_regression_have_them_too():
    y, p = drawn(TARGETS["multiclass"])
    y[y == 1] = 2  # a class may have no row here, and be predicted
    assert measures(TARGETS["multiclass"], y, p) == pytest.approx(
        {
            "balanced accuracy": sk.recall_score(y, p.argmax(1), labels=[0, 2], average="macro"),
            "accuracy": sk.accuracy_score(y, p.argmax(1)),
        }
    )
    y, p = drawn(TARGETS["regression"])
    assert measures(TARGETS["regression"], y, p) == pytest.approx(
        {
            "RMSE": sk.root_mean_squared_error(y, p),
            "MAE": sk.mean_absolute_error(y, p),
            "R²": sk.r2_score(y, p),
        }
    )


def test_precision_and_recall_are_by_class():
    y, p = drawn(TARGETS["multiclass"])
    found, best = by_class(TARGETS["multiclass"], y, p), p.argmax(1)
    precision, recall, *_ = sk.precision_recall_fscore_support(y, best)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    for label in range(3):
        assert (
            found.confusion[label].tolist() == np.bincount(best[y == label], minlength=3).tolist()
        )


def test_what_rows_of_one_class_cannot_tell_is_no_number():
    y = np.zeros(3, int)
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    found = measures(TARGETS["binary"], y, p)
    assert np.isnan(found["AUC"])
    assert np.isnan(found["average precision"])
    assert found["accuracy"] == 2 / 3
    assert np.isnan(by_class(TARGETS["binary"], y, p).recall[1])
    assert np.isnan(measures(TARGETS["regression"], np.ones(3), np.zeros(3))["R²"])


@pytest.mark.parametrize("task", TARGETS)
def test_a_constant_is_the_training_rows_shares_or_mean(task):
    target = TARGETS[task]
    train, (y, _) = drawn(target)[0], drawn(target)
    constant = constant_prediction(target, train, N)
    assert np.unique(constant, axis=0).shape[0] == 1
    found = measures(target, y, constant)
    if task == "regression":
        assert found["RMSE"] == pytest.approx(np.sqrt(np.mean((y - train.mean()) ** 2)))
        assert constant_loss(target, train, of=y) == pytest.approx(found["RMSE"] ** 2)
    else:
        assert found["accuracy"] == np.mean(y == np.bincount(train).argmax())
        expected = sk.log_loss(y, constant, labels=range(len(target.classes)))
        assert constant_loss(target, train, of=y) == pytest.approx(expected)
    assert found.get("AUC", 0.5) == 0.5
