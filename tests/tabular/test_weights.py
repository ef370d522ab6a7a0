"""What rows count: scikit-learn's balanced classes, a column, and a loss that follows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from jaxgd.losses import squared_error
from jaxgd.objective import mean
from jaxgd.tabular import Target, prepare
from jaxgd.tabular.metrics import constant_loss
from jaxgd.tabular.weights import weighted
from tests.tabular.conftest import table
from tests.tolerances import ROUNDED_F32

KEY = jax.random.key(0)
Y = np.repeat([0, 1, 2], [40, 15, 5])
S = np.linspace(0, 3, 60)
TABLE = table(x=np.sin(np.arange(60.0)), s=S, y=Y)


def test_balanced_classes_are_scikit_learns():
    data = prepare(TABLE, key=KEY, class_weight="balanced", ignore=("s",))
    train, held, _ = data.weights
    np.testing.assert_allclose(
        train, compute_sample_weight("balanced", data.train.y), rtol=ROUNDED_F32
    )
    assert len(held) == len(data.held_out.y)
    of_class = {int(y): w for y, w in zip(data.train.y, train, strict=True)}
    np.testing.assert_array_equal(held, [of_class[int(y)] for y in data.held_out.y])


def test_a_column_of_weights_is_no_feature_and_has_mean_1():
    data = prepare(TABLE, key=KEY, sample_weight="s")
    assert data.schema.features == ("x",)
    np.testing.assert_allclose(data.weights[0].mean(), 1, rtol=ROUNDED_F32)
    rows = data.rows[0]
    np.testing.assert_allclose(data.weights[0], S[rows] / S[rows].mean(), rtol=ROUNDED_F32)
    assert prepare(TABLE, key=KEY).weights is None


@pytest.mark.parametrize(
    ("s", "options", "message"),
    [
        (
            -S,
            {"sample_weight": "s"},
            "59 negative values, first in row 2. A weight must be at least",
        ),
        (0 * S, {"sample_weight": "s"}, "the weights in column 's' of the table are all 0"),
        (S, {"sample_weight": "y"}, "the target must be no id, group, time or weight"),
        (S, {"class_weight": "balanced", "task": "regression"}, "the target is a regression"),
    ],
)
def test_weights_that_are_none_are_refused(s, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(table(x=S, s=s, y=Y), key=KEY, target="y", **options)


def test_a_row_of_weight_2_is_a_row_twice():
    y = jnp.array([1.0, 2.0, 4.0])

    def loss(p, example):
        return squared_error(p * example[0], example[1])

    double = mean(weighted(loss))(0.5, (y, y, jnp.array([2.0, 1.0, 1.0]) * 3 / 4))
    twice = mean(loss)(0.5, (jnp.array([1.0, 1.0, 2.0, 4.0]),) * 2)
    np.testing.assert_allclose(double, twice, rtol=ROUNDED_F32)


def test_the_best_constant_follows_the_weights():
    w = np.array([2.0, 1.0, 1.0])
    for target, y, twice in [
        (Target("t", "binary", ("a", "b")), np.array([0, 1, 1]), np.array([0, 0, 1, 1])),
        (Target("t", "regression"), np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0, 4.0])),
    ]:
        assert constant_loss(target, y, w) == pytest.approx(constant_loss(target, twice))
