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

EPOCHS = 3
START = jaxgd.Linear(jnp.array([0.2]), jnp.asarray(-0.1))
SGD = optax.sgd(0.1)
UPDATES = {None: 1, 8: 4}


def one_feature():
    x, y = data()
    return x[:, :1], y


@pytest.fixture(scope="module")
def paths():
    found = stability(
        loss,
        START,
        one_feature(),
        optimizer=SGD,
        epochs=EPOCHS,
        batch_sizes=tuple(UPDATES),
        key=KEY,
    )
    return {path.batch_size: path for path in found}


@pytest.mark.parametrize("b", UPDATES)
def test_the_path_is_that_of_train(paths, b):
    epoch = jaxgd.gd(loss, SGD) if b is None else jaxgd.minibatch(loss, SGD, b)
    state, _ = jaxgd.train(epoch, EPOCHS)(jaxgd.init_state(START, SGD), one_feature(), KEY)
    path = paths[b]
    assert path.path.shape == (EPOCHS * UPDATES[b] + 1, 2)
    np.testing.assert_array_equal(path.path[0], [START.w[0], START.b])
    end = [state.params.w[0], state.params.b]
    np.testing.assert_allclose(path.path[-1], end, rtol=tolerances.RUN_AT_RATES_F32)
    objective = jaxgd.mean(loss)
    np.testing.assert_allclose(
        path.losses[[0, -1]],
        [objective(params, one_feature()) for params in (START, state.params)],
        rtol=tolerances.RUN_AT_RATES_F32,
    )
    bend = sharpness(objective, state.params, one_feature()).value
    np.testing.assert_allclose(path.sharpness[-1], bend, rtol=tolerances.RUN_AT_RATES_F32)


def test_what_was_spent(paths):
    spent = paths[8].spent()
    np.testing.assert_array_equal(spent["updates"], [0, 4, 8, 12])
    np.testing.assert_array_equal(spent["examples"], [0, N, 2 * N, 3 * N])
    assert 0 == spent["seconds"][0] < spent["seconds"][1]


def test_a_model_of_more_params_has_a_path_where_coordinates_are_named():
    many = jaxgd.init_linear(5)
    (path,) = stability(
        loss,
        many,
        data(),
        optimizer=SGD,
        epochs=1,
        batch_sizes=(8,),
        key=KEY,
        coordinates=lambda params: params.w[:2],
        preconditioner=lambda state: jax.tree.map(lambda a: jnp.full_like(a, 2), state.params),
    )
    assert path.path.shape == (5, 2)
    bend = sharpness(jaxgd.mean(loss), many, data()).value
    np.testing.assert_allclose(path.sharpness[0], bend / 2, rtol=tolerances.RUN_AT_RATES_F32)


def test_the_surface_is_the_mean_loss_at_each_point():
    w, b = jnp.linspace(-1, 1, 4), jnp.linspace(-2, 2, 3)
    grid = loss_surface(loss, one_feature(), lambda w, b: jaxgd.Linear(w[None], b), w, b)
    assert grid.shape == (3, 4)
    at = jaxgd.Linear(w[3:], b[1])
    np.testing.assert_allclose(grid[1, 3], jaxgd.mean(loss)(at, one_feature()), rtol=1e-6)
