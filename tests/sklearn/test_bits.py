"""An estimator is jaxgd.fit, to the bit, and goes on to the bit."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxgd
from jaxgd.sklearn import GradientDescentClassifier, GradientDescentRegressor
from jaxgd.tabular import standardizer

X = np.random.default_rng(0).normal(size=(24, 3))
Y = X[:, 0] + 0.5 * np.random.default_rng(1).normal(size=24)
SETTINGS = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": 7}


def trained(loss, y, dtype):
    with jax.enable_x64(dtype == np.float64):
        _, order_key = jax.random.split(jax.random.key(5))
        data = (jnp.asarray(X, dtype), jnp.asarray(y))
        fit = jaxgd.fit(loss, jaxgd.init_linear(3), data, epochs=4, key=order_key, **SETTINGS)
        return jax.tree.map(np.asarray, fit.params), fit.history


def test_the_classifier_is_jaxgd_fit():
    loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
    params, history = trained(loss, (Y > 0).astype(np.int32), np.float32)
    labels = np.where(Y > 0, "yes", "no")
    found = GradientDescentClassifier(epochs=4, random_state=5, **SETTINGS)
    found.fit(X.astype(np.float32), labels)
    assert found.coef_.dtype == np.float32
    np.testing.assert_array_equal(found.coef_, params.w[None])
    np.testing.assert_array_equal(found.intercept_, params.b[None])
    assert found.loss_curve_ == history.epoch_loss.tolist()


def test_the_regressor_is_jaxgd_fit_on_a_standardised_target():
    y = 1e5 * Y + 3e5
    mean, scale = scaling = standardizer(y)
    loss = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
    params, _ = trained(loss, scaling.apply(y), np.float64)
    found = GradientDescentRegressor(epochs=4, random_state=5, **SETTINGS).fit(X, y)
    np.testing.assert_array_equal(found.coef_, params.w * scale)
    np.testing.assert_array_equal(found.intercept_, params.b * scale + mean)


def test_a_warm_start_goes_on_to_the_bit():
    settings = SETTINGS | {"random_state": 5}
    whole = GradientDescentRegressor(epochs=4, **settings).fit(X, Y)
    parts = GradientDescentRegressor(epochs=2, warm_start=True, **settings).fit(X, Y).fit(X, Y)
    by_one = GradientDescentRegressor(**settings)
    for _ in range(4):
        by_one.partial_fit(X, Y)
    for other in (parts, by_one):
        np.testing.assert_array_equal(other.coef_, whole.coef_)
        assert (other.n_iter_, other.loss_curve_) == (4, whole.loss_curve_)
    again = GradientDescentRegressor(epochs=2, **settings).fit(X, Y).fit(X, Y)
    assert (again.n_iter_, np.array_equal(again.coef_, whole.coef_)) == (2, False)


def test_without_scikit_learn_one_line_says_what_to_install():
    program = (
        "import sys; sys.modules['sklearn'] = None; import jaxgd.sklearn as s; "
        "print(*dir(s)); s.GradientDescentClassifier"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "GradientDescentClassifier GradientDescentRegressor\n"
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: jaxgd.sklearn needs scikit-learn: pip install "jaxgd[cli]"'
    )
