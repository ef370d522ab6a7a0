"""The sharpness is the Hessian's largest eigenvalue, and a rate above the threshold diverges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import jaxgd
from jaxgd.optim import adam
from jaxgd.optim import sgd as torchs_sgd
from jaxgd.study import adam_preconditioner, largest_stable_rate, sharpness
from jaxgd.study.curvature import largest_eigenvalue
from tests import tolerances

LOSS = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
METRIC = jaxgd.Linear(jnp.array([0.5, 1.0, 2.0, 3.0, 0.7]), jnp.asarray(2.0))


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) * np.arange(1, 6)
    return jnp.asarray(x), jnp.asarray(x @ rng.normal(size=5) + 1)


def hessian(objective, params, batch):
    flat, unravel = ravel_pytree(params)
    return np.asarray(jax.hessian(lambda p: objective(unravel(p), batch))(flat))


def test_of_a_network_it_is_that_of_the_dense_hessian(x64):
    net = jaxgd.init_mlp(jax.random.key(0), (5, 3, 1), dtype=jnp.float64)
    loss = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], jaxgd.squared_error)
    found = sharpness(jaxgd.mean(loss), net, table(), iterations=22)
    values = np.linalg.eigvalsh(hessian(jaxgd.mean(loss), net, table()))
    assert values[0] < 0  # a saddle: the largest in size need not be meant
    np.testing.assert_allclose(found.value, values[-1], rtol=tolerances.LANCZOS_F64)
    few = sharpness(jaxgd.mean(loss), net, table(), iterations=3)
    assert np.abs(values - few.value).min() <= few.residual
    assert few.residual > 0


def test_with_a_preconditioner_it_is_that_of_the_metric(x64):
    params, metric = (jax.tree.map(lambda a: a.astype(jnp.float64), t) for t in (METRIC, METRIC))
    found = sharpness(jaxgd.mean(LOSS), params, table(), preconditioner=metric)
    dense = hessian(jaxgd.mean(LOSS), params, table()) / ravel_pytree(metric)[0][:, None]
    largest = np.linalg.eigvals(dense).real.max()
    np.testing.assert_allclose(found.value, largest, rtol=tolerances.LANCZOS_F64)


@pytest.mark.parametrize("values", [[-3.0, -1.0, -2.0, -1.0], [0.0, 0, 0, 0], [2.0, 2.0, 2.0, 2.0]])
def test_an_exhausted_krylov_space_adds_no_eigenvalue(values):
    matrix = jnp.diag(jnp.asarray(values))
    start = jnp.array([1.0, 2.0, 0.5, 1.5])
    found = jax.jit(lambda v: largest_eigenvalue(lambda u: matrix @ u, v, 4))(start)
    np.testing.assert_allclose(found.value, max(values), atol=tolerances.LANCZOS_F32)


def heavy_ball_in_the_metric(rate):
    """Adam with its preconditioner held still."""
    divide = optax.stateless(lambda u, _: jax.tree.map(lambda a, p: a / p, u, METRIC))
    return optax.chain(optax.ema(0.9, debias=False), divide, optax.scale(-rate))


@pytest.mark.optax_promotion
@pytest.mark.parametrize(
    ("optimizer", "settings", "metric"),
    [
        (optax.sgd, {}, None),
        (lambda rate: optax.sgd(rate, 0.9), {"momentum": 0.9}, None),
        (lambda rate: optax.sgd(rate, 0.9, True), {"momentum": 0.9, "nesterov": True}, None),
        (
            lambda rate: torchs_sgd(rate, 0.9, dampening=0.5),
            {"momentum": 0.9, "dampening": 0.5},
            None,
        ),
        (heavy_ball_in_the_metric, {"momentum": 0.9, "dampening": 0.9}, METRIC),
    ],
    ids=["gd", "heavy ball", "nesterov", "dampened", "adam, its preconditioner held"],
)
def test_runs_fall_below_the_threshold_and_diverge_above(x64, optimizer, settings, metric):
    zeros = jaxgd.init_linear(5, dtype=jnp.float64)
    bend = sharpness(jaxgd.mean(LOSS), zeros, table(), preconditioner=metric)
    threshold = largest_stable_rate(bend.value, **settings)

    @jax.jit
    def last_loss(rate):
        run = jaxgd.train(jaxgd.gd(LOSS, optimizer(rate)), 3000, order=None)
        state = jaxgd.init_state(jax.tree.map(jnp.ones_like, zeros), optimizer(rate))
        return run(state, table())[1][-1, 0]

    assert last_loss(0.99 * threshold) < 1e-12
    assert not last_loss(1.01 * threshold) < 1e12


def test_adams_preconditioner_is_what_its_update_divides_by(x64):
    """One update from zero: (1 - β1) g / P is the step that Adam makes."""
    params, gradient = jnp.zeros(3), jnp.array([0.5, -2.0, 1e-3])
    updates, state = adam(0.1).update(gradient, adam(0.1).init(params), params)
    second = next(s for s in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(s)).exp_avg_sq
    metric = adam_preconditioner(second, 1)
    np.testing.assert_allclose(-0.1 * 0.1 * gradient / metric, updates, rtol=1e-12)


def is_adam(node):
    return hasattr(node, "exp_avg_sq")


def test_thresholds_of_no_curvature_and_settings_out_of_range():
    np.testing.assert_array_equal(
        largest_stable_rate(jnp.array([4.0, 0.0, -1.0])), [0.5, np.inf, np.inf]
    )
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\); got momentum=1"):
        largest_stable_rate(1.0, momentum=1.0)
    with pytest.raises(ValueError, match=r"nesterov must have no dampening; got dampening=0\.5"):
        largest_stable_rate(1.0, momentum=0.9, dampening=0.5, nesterov=True)
