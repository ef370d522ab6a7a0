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

pytestmark = pytest.mark.usefixtures("quick_compile")

LOSS = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
METRIC = jaxgd.Linear(np.array([0.5, 1.0, 2.0, 3.0, 0.7]), np.array(2.0))


ZEROS = jaxgd.Linear(np.zeros(5), np.zeros(()))


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) * np.arange(1, 6)
    return x, x @ rng.normal(size=5) + 1


def quadratic():
    """The Hessian of the mean squared error, the same everywhere."""
    x = np.column_stack([table()[0], np.ones(40)])
    return 2 * x.T @ x / len(x)


@pytest.fixture(scope="module")
def bends():
    """The sharpness of the quadratic, and that in the metric, by Lanczos."""
    with jax.enable_x64(True):
        return tuple(
            sharpness(jaxgd.mean(LOSS), ZEROS, table(), preconditioner=metric).value
            for metric in (None, METRIC)
        )


def test_with_and_without_a_metric_it_is_the_largest_eigenvalue(bends):
    metric = np.append(METRIC.w, METRIC.b)[:, None]
    for found, matrix in zip(bends, (quadratic(), quadratic() / metric), strict=True):
        largest = np.linalg.eigvals(matrix).real.max()
        np.testing.assert_allclose(found, largest, rtol=tolerances.LANCZOS_F64)


def test_of_a_network_it_is_the_largest_by_sign_and_not_by_size(x64):
    net = jaxgd.init_mlp(jax.random.key(0), (5, 3, 1), dtype=jnp.float64)
    loss = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], jaxgd.squared_error)
    objective = jaxgd.mean(lambda params, example: -loss(params, example))  # bends down, mostly
    flat, unravel = ravel_pytree(net)
    dense = jax.jit(jax.hessian(lambda p, data: objective(unravel(p), data)))(flat, table())
    values = np.linalg.eigvalsh(dense)
    assert -values[0] > values[-1] > 0
    found = sharpness(objective, net, table(), iterations=22)
    np.testing.assert_allclose(found.value, values[-1], rtol=tolerances.LANCZOS_F64)


@jax.jit
def of_matrix(matrix):
    start = jnp.asarray([1.0, 2.0, 0.5, 1.5, 1.0, 0.7], matrix.dtype)
    return [largest_eigenvalue(lambda v: matrix @ v, start, steps) for steps in (3, 6)]


def test_an_eigenvalue_lies_within_the_residual(x64):
    few, all_steps = of_matrix(jnp.asarray(quadratic()))
    values = np.linalg.eigvalsh(quadratic())
    assert 0 < np.abs(values - few.value).min() <= few.residual
    assert all_steps.residual < 1e-9 * values[-1]


@pytest.mark.parametrize("values", [[-3, -1, -2, -1, -1, -1], [0] * 6, [2] * 6])
def test_an_exhausted_krylov_space_adds_no_eigenvalue(x64, values):
    found = of_matrix(jnp.diag(jnp.asarray(values, jnp.float64)))[1]
    np.testing.assert_allclose(found.value, max(values), atol=tolerances.LANCZOS_F64)


def heavy_ball_in_the_metric(rate):
    """Adam with its preconditioner held still."""
    divide = optax.stateless(lambda u, _: jax.tree.map(lambda a, p: a / p, u, METRIC))
    return optax.chain(optax.ema(0.9, debias=False), divide, optax.scale(-rate))


@pytest.mark.optax_promotion
@pytest.mark.parametrize(
    ("optimizer", "settings", "in_metric"),
    [
        (optax.sgd, {}, False),
        (lambda rate: optax.sgd(rate, 0.9), {"momentum": 0.9}, False),
        (lambda rate: optax.sgd(rate, 0.9, True), {"momentum": 0.9, "nesterov": True}, False),
        (
            lambda rate: torchs_sgd(rate, 0.9, dampening=0.5),
            {"momentum": 0.9, "dampening": 0.5},
            False,
        ),
        (heavy_ball_in_the_metric, {"momentum": 0.9, "dampening": 0.9}, True),
    ],
    ids=["gd", "heavy ball", "nesterov", "dampened", "adam, its preconditioner held"],
)
def test_runs_fall_below_the_threshold_and_diverge_above(
    x64, bends, optimizer, settings, in_metric
):
    threshold = largest_stable_rate(bends[in_metric], **settings)

    @jax.jit
    def last_loss(rate):
        run = jaxgd.train(jaxgd.gd(LOSS, optimizer(rate)), 3000, order=None)
        state = jaxgd.init_state(jax.tree.map(jnp.ones_like, ZEROS), optimizer(rate))
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
