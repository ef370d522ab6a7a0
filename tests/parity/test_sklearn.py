"""An oracle that shares nothing with us: scikit-learn's SGDClassifier and MLPClassifier."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

import jaxgd
from tests.tolerances import SCIKIT_LEARN

EPOCHS, LEARNING_RATE = 5, 0.05

pytestmark = [
    pytest.mark.usefixtures("x64"),
    # With tol=None and a fixed number of iterations scikit-learn warns that it has not converged.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def loss(params, example):
    x, y = example
    return jaxgd.binary_cross_entropy_with_logits(jaxgd.linear(params, x), y)


@pytest.fixture(scope="module")
def table():
    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y


def ours(epoch, params, table):
    optimizer = optax.sgd(LEARNING_RATE)
    run = jax.jit(jaxgd.train(epoch(loss, optimizer), EPOCHS, order=None))
    x, y = table
    data = (jnp.asarray(x), jnp.asarray(y, jnp.float64))
    return run(jaxgd.init_state(params, optimizer), data, jax.random.key(0))


def assert_coefficients(params, w, b):
    scale = np.abs(w).max()
    assert np.abs(np.asarray(params.w) - w).max() <= SCIKIT_LEARN * scale
    assert abs(float(params.b) - b) <= SCIKIT_LEARN * scale


def test_sgd_equals_sgd_classifier(table):
    oracle = SGDClassifier(
        loss="log_loss", penalty=None, learning_rate="constant", eta0=LEARNING_RATE,
        shuffle=False, tol=None, max_iter=EPOCHS,
    ).fit(*table)  # fmt: skip
    state, losses = ours(jaxgd.sgd, jaxgd.init_linear(30), table)
    assert losses.shape == (EPOCHS, 569)
    assert_coefficients(state.params, oracle.coef_[0], oracle.intercept_[0])


def mlp_classifier(table, batch_size, **options):
    return MLPClassifier(
        hidden_layer_sizes=(), solver="sgd", momentum=0, nesterovs_momentum=False, alpha=0,
        shuffle=False, batch_size=batch_size, random_state=0, **options,
    ).fit(*table)  # fmt: skip


@pytest.mark.parametrize("batch_size", [32, 568, 569])
def test_minibatch_and_gd_equal_mlp_classifier(table, batch_size):
    """n = 569: a ragged last batch of 25 rows, of 1 row, and full gradient descent."""
    start = mlp_classifier(table, batch_size, max_iter=1, learning_rate_init=1e-300)
    oracle = mlp_classifier(
        table, batch_size, max_iter=EPOCHS, learning_rate_init=LEARNING_RATE, tol=0,
        n_iter_no_change=EPOCHS + 1,
    )  # fmt: skip
    params = jaxgd.Linear(jnp.asarray(start.coefs_[0][:, 0]), jnp.asarray(start.intercepts_[0][0]))
    epoch = jaxgd.gd if batch_size == 569 else lambda *a: jaxgd.minibatch(*a, batch_size)
    state, losses = ours(epoch, params, table)
    assert losses.shape == (EPOCHS, -(-569 // batch_size))
    assert_coefficients(state.params, oracle.coefs_[0][:, 0], oracle.intercepts_[0][0])
