"""What is recorded of a descent is the descent: `train`'s params, losses and curvature."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.study import loss_surface, sharpness, stability
from tests import tolerances
from tests.laws.problem import KEY, N, data, loss

pytestmark = pytest.mark.usefixtures("quick_compile")

EPOCHS = 3
SGD = optax.sgd(0.1)


def one_feature():
    x, y = data()
    return x[:, :1], y


@pytest.fixture(scope="module")
def mini_batches():
    """Of one neuron, whose two params are the path."""
    start = jaxgd.Linear(jnp.array([0.2]), jnp.asarray(-0.1))
    options = {"optimizer": SGD, "epochs": EPOCHS, "batch_sizes": (8,), "key": KEY}
    return start, stability(loss, start, one_feature(), **options)[0]


@pytest.fixture(scope="module")
def full_batches():
    """Of five features, in a metric and with coordinates that are named."""
    start = jaxgd.init_linear(5)
    return start, stability(
        loss,
        start,
        data(),
        optimizer=SGD,
        epochs=EPOCHS,
        batch_sizes=(None,),
        key=KEY,
        coordinates=lambda params: params.w[:2],
        preconditioner=lambda state: jax.tree.map(lambda a: jnp.full_like(a, 2), state.params),
    )[0]


def test_a_path_is_that_of_train(mini_batches, full_batches):
    for (start, path), table, epoch, coordinates in (
        (mini_batches, one_feature(), jaxgd.minibatch(loss, SGD, 8), lambda p: [p.w[0], p.b]),
        (full_batches, data(), jaxgd.gd(loss, SGD), lambda p: p.w[:2]),
    ):
        state, _ = jaxgd.train(epoch, EPOCHS)(jaxgd.init_state(start, SGD), table, KEY)
        ends = start, state.params
        assert path.path.shape == (EPOCHS * path.updates_each + 1, 2)
        close(path.path[[0, -1]], [coordinates(params) for params in ends])
        close(path.losses[[0, -1]], [jaxgd.mean(loss)(params, table) for params in ends])


def close(ours, theirs):
    np.testing.assert_allclose(ours, np.array(theirs), rtol=tolerances.RUN_AT_RATES_F32)


def test_the_sharpness_is_that_of_all_rows_in_the_metric(mini_batches, full_batches):
    for (start, path), table, metric in (
        (mini_batches, one_feature(), 1),
        (full_batches, data(), 2),
    ):
        bend = sharpness(jaxgd.mean(loss), start, table).value
        close(path.sharpness[0], bend / metric)
        assert path.sharpness.shape == (EPOCHS + 1,)


def test_what_was_spent(mini_batches):
    spent = mini_batches[1].spent()
    np.testing.assert_array_equal(spent["updates"], [0, 4, 8, 12])
    np.testing.assert_array_equal(spent["examples"], [0, N, 2 * N, 3 * N])
    assert 0 == spent["seconds"][0] < spent["seconds"][1]


def test_the_surface_is_the_mean_loss_at_each_point():
    w, b = jnp.linspace(-1, 1, 4), jnp.linspace(-2, 2, 3)
    grid = loss_surface(loss, one_feature(), lambda w, b: jaxgd.Linear(w[None], b), w, b)
    assert grid.shape == (3, 4)
    at = jaxgd.Linear(w[3:], b[1])
    np.testing.assert_allclose(grid[1, 3], jaxgd.mean(loss)(at, one_feature()), rtol=1e-6)
