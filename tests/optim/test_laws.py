"""Optax's laws hold for every optimizer: pure, compiled or not, batched or looped, composed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd import optim
from tests import tolerances
from tests.optim.cases import OPTIMIZERS, thorough

UPDATES = 6
LR = 0.01

pytestmark = [pytest.mark.parametrize("optimizer", OPTIMIZERS), pytest.mark.usefixtures("x64")]


def params():
    rng = np.random.default_rng(0)
    return {"weight": jnp.asarray(rng.normal(size=(3, 2))), "bias": jnp.asarray(rng.normal(size=2))}


def gradients():
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(UPDATES, *p.shape))), params())


def transformation(optimizer, lr=LR):
    return optim.by_name(optimizer)(**thorough(optimizer) | {"lr": lr})


def run(tx, start, grads):
    """The parameters after every update, and the last state: one update at a time."""
    values, state, trajectory = start, tx.init(start), []
    for t in range(len(grads["bias"])):
        updates, state = tx.update(jax.tree.map(lambda g, t=t: g[t], grads), state, values)
        values = optax.apply_updates(values, updates)
        trajectory.append(values)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trajectory), state


def scan(tx, start, grads):
    """The same in one program."""

    def update(carry, grad):
        values, state = carry
        updates, state = tx.update(grad, state, values)
        values = optax.apply_updates(values, updates)
        return (values, state), values

    (_, state), trajectory = jax.lax.scan(update, (start, tx.init(start)), grads)
    return trajectory, state


@functools.cache
def compiled(optimizer):
    """The run as one program of the learning rate."""
    return jax.jit(lambda lr: scan(transformation(optimizer, lr), params(), gradients()))


@functools.cache
def expected(optimizer, lr=LR):
    with jax.numpy_dtype_promotion("strict"):
        return compiled(optimizer)(lr)


def assert_same(actual, wanted):
    """Equal to rounding, leaf by leaf."""
    jax.tree.map(
        lambda a, w: np.testing.assert_allclose(a, w, rtol=0, atol=tolerances.PARITY_F64),
        actual,
        wanted,
    )


def test_init_and_update_are_pure(optimizer):
    tx = transformation(optimizer)
    grads = jax.tree.map(lambda g: g[0], gradients())
    state = tx.init(params())
    before = jax.tree.map(np.array, state)
    first, second = tx.update(grads, state, params()), tx.update(grads, state, params())
    jax.tree.map(np.testing.assert_array_equal, first, second)
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_a_fresh_state_may_be_donated(optimizer):
    """No two buffers of it are one: XLA would refuse to reuse that twice."""
    tx = transformation(optimizer)
    grads = jax.tree.map(lambda g: g[0], gradients())
    state = tx.init(params())
    jax.jit(tx.update, donate_argnums=1)(grads, state, params())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_compiled_equals_eager(optimizer):
    assert_same(run(transformation(optimizer), params(), gradients()), expected(optimizer))


def test_a_batch_of_rates_equals_a_loop(optimizer):
    rates = (0.5 * LR, LR, 2 * LR)
    batched = jax.jit(jax.vmap(compiled(optimizer)))(jnp.array(rates))
    looped = [expected(optimizer, lr) for lr in rates]
    assert_same(batched, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped))


def test_the_gradient_in_the_rate_equals_a_difference_quotient(optimizer):
    def outcome(lr):
        return sum(jnp.sum(jnp.sin(leaf[-1])) for leaf in compiled(optimizer)(lr)[0].values())

    h = 1e-6
    quotient = (outcome(LR + h) - outcome(LR - h)) / (2 * h)
    rounds = optimizer == "asgd"
    bound = tolerances.HYPERGRADIENT_OF_ROUNDED_RATE if rounds else tolerances.HYPERGRADIENT
    np.testing.assert_allclose(jax.grad(outcome)(LR), quotient, rtol=bound)


def test_another_rate_compiles_nothing(optimizer):
    first, _ = compiled(optimizer)(LR)
    programs = compiled(optimizer)._cache_size()
    second, _ = compiled(optimizer)(2 * LR)
    assert compiled(optimizer)._cache_size() == programs
    assert not np.allclose(first["weight"], second["weight"])


def test_a_constant_schedule_equals_the_number_and_has_its_state(optimizer):
    trajectory, state = run(transformation(optimizer, lambda count: LR), params(), gradients())
    assert_same((trajectory, state), expected(optimizer))
    assert optax.tree.get(state, "step") == UPDATES


def test_bfloat16_and_float32_leaves_keep_their_types(optimizer):
    types = {"weight": jnp.bfloat16, "bias": jnp.float32}
    start = {name: leaf.astype(types[name]) for name, leaf in params().items()}
    grads = {name: leaf.astype(types[name]) for name, leaf in gradients().items()}
    tx = transformation(optimizer)
    grad = jax.tree.map(lambda g: g[0], grads)
    state = jax.eval_shape(tx.init, start)
    updates, after = jax.eval_shape(tx.update, grad, state, start)
    assert {name: leaf.dtype for name, leaf in updates.items()} == types
    assert after == state


def test_two_in_a_chain(optimizer):
    """Behind a transformation of the gradient, the optimizer sees what it hands on."""
    chained = optax.chain(optax.scale(0.5), transformation(optimizer))
    doubled = jax.tree.map(lambda g: 2.0 * g, gradients())
    trajectory, (_, state) = run(chained, params(), doubled)
    assert_same((trajectory, state), expected(optimizer))


@pytest.mark.halved
@pytest.mark.halved
@pytest.mark.optax_promotion
def test_injected_hyperparameters(optimizer):
    """Every number among the options becomes part of the state, and is traced."""
    options = thorough(optimizer) | {"lr": LR}
    injected = optax.inject_hyperparams(optim.by_name(optimizer))(**options)
    trajectory, state = run(injected, params(), gradients())
    assert_same(trajectory, expected(optimizer)[0])
    assert state.hyperparams["lr"] == LR


@pytest.mark.optax_promotion
def test_partition(optimizer):
    """Two groups with their own rates equal two optimizers, each on its own group."""
    groups = {"weight": LR, "bias": 2 * LR}
    tx = optax.partition(
        {name: transformation(optimizer, lr) for name, lr in groups.items()},
        {name: name for name in groups},
    )
    trajectory, _ = run(tx, params(), gradients())
    assert_same(trajectory, {k: expected(optimizer, lr)[0][k] for k, lr in groups.items()})


@pytest.mark.optax_promotion
def test_accumulated_gradients(optimizer):
    """MultiSteps over pairs equals one update on each pair's mean."""
    # MultiSteps would accumulate in float32.
    multi = optax.MultiSteps(transformation(optimizer), 2, accumulator_dtype=jnp.float64)
    tx = multi.gradient_transformation()
    pairs = jax.tree.map(
        lambda g: jnp.stack([0.5 * g, 1.5 * g], axis=1).reshape(-1, *g.shape[1:]), gradients()
    )
    trajectory, _ = scan(tx, params(), pairs)
    every_second = jax.tree.map(lambda leaf: leaf[1::2], trajectory)
    assert_same(every_second, expected(optimizer)[0])
