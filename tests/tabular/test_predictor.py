"""What a target means for a model: parameters, and scores against sklearn."""

import jax
import numpy as np
import pytest
from sklearn.metrics import log_loss, r2_score, root_mean_squared_error

from jaxgd.tabular import Model, Part, Schema, Standardizer, Target
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.scaling import unscaled
from jaxgd.tabular.schema import plain
from tests.tolerances import ROUNDED_F32

BINARY = Target("t", "binary", ("no", "yes"))
MULTICLASS = Target("t", "multiclass", ("a", "b", "c"))
REGRESSION = Target("t", "regression")


def schema(target, y_scaling=None):
    """Four numbers as they are, and the target."""
    return Schema(plain(*"abcd"), target, unscaled(4), y_scaling or unscaled())


def drawn(predictor, n=50):
    """Parameters and rows in general position."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(predictor.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    x = rng.normal(size=(n, predictor.n_features)).astype(np.float32)
    k = len(predictor.target.classes)
    y = rng.integers(k, size=n).astype(np.int32) if k else rng.normal(size=n).astype(np.float32)
    return params, Part(x, y)


@pytest.mark.parametrize(
    ("target", "hidden", "shapes"),
    [
        (BINARY, (), [(4,), ()]),
        (REGRESSION, (), [(4,), ()]),
        (MULTICLASS, (), [(4, 3), (3,)]),
        (BINARY, (5,), [(4, 5), (5,), (5, 1), (1,)]),
        (MULTICLASS, (5, 6), [(4, 5), (5,), (5, 6), (6,), (6, 3), (3,)]),
    ],
)
def test_a_target_decides_the_shape_of_the_parameters(target, hidden, shapes):
    params = jax.eval_shape(Predictor(4, target, hidden).init, jax.random.key(0))
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == shapes


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("target", [BINARY, MULTICLASS])
def test_a_classifiers_scores_are_sklearns(target, hidden):
    predictor = Predictor(4, target, hidden)
    params, rows = drawn(predictor)
    probability = predictor.predict(params, rows.x)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=ROUNDED_F32)
    scores = Model(predictor, params, schema(target)).score(rows)
    assert list(scores) == ["loss", "accuracy"]
    in_f64 = probability.astype(np.float64)
    expected = log_loss(rows.y, in_f64 / in_f64.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(scores["loss"], expected, rtol=ROUNDED_F32)
    assert scores["accuracy"] == np.mean(probability.argmax(axis=1) == rows.y)


def test_a_regressions_scores_are_sklearns_in_the_targets_unit():
    predictor = Predictor(4, REGRESSION)
    params, rows = drawn(predictor)
    scaling = Standardizer(np.array(1e6), np.array(2e3))
    scores = Model(predictor, params, schema(REGRESSION, scaling)).score(rows)
    predicted = predictor.predict(params, rows.x)
    np.testing.assert_allclose(scores["loss"], np.mean((predicted - rows.y) ** 2), rtol=ROUNDED_F32)
    true, ours = scaling.invert(rows.y.astype(float)), scaling.invert(predicted.astype(float))
    np.testing.assert_allclose(scores["RMSE"], root_mean_squared_error(true, ours))
    np.testing.assert_allclose(scores["R²"], r2_score(true, ours))
