"""Gradients through a run are those of finite differences, and what is wrong with one is told."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import jaxgd
from jaxgd.study import hypergradient, trained
from jaxgd.study.hypergradients import names_to_move
from jaxgd.study.modes import slope_through
from jaxgd.study.smoothness import sign_agreement
from tests import tolerances
from tests.laws import problem

pytestmark = [pytest.mark.optax_promotion, pytest.mark.usefixtures("quick_compile")]

N, B, EPOCHS = 11, 4, 3  # two full batches and one of 3 rows
KEY = jax.random.key(3)
NAMES = ("rates", "decay", "params", "weights")


def scheduled(rates, decay):
    descent = optax.sgd(lambda count: rates[count % 3], momentum=0.5)
    return optax.chain(optax.add_decayed_weights(decay), descent)


def given(dtype):
    params = jaxgd.Linear(jnp.full(problem.D, 0.1, dtype), jnp.asarray(0.1, dtype))
    rates = jnp.linspace(0.4, 0.2, 3, dtype=dtype)
    return params, problem.data(N, dtype), {"rates": rates, "decay": 0.02}


def found(**options):
    params, data, settings = given(jnp.zeros(()).dtype)
    return unchecked(hypergradient)(
        problem.loss,
        params,
        data,
        **{
            "optimizer": scheduled,
            "settings": settings,
            "epochs": EPOCHS,
            "batch_size": B,
            "key": KEY,
            "validation": problem.data(7, seed=1),
            **options,
        },
    )


def one_function(batch_size):
    """The validation loss of all numbers in one vector, by number of levels; the vector itself."""
    params, data, settings = given(jnp.float64)
    flat, unravel = ravel_pytree({**settings, "params": params, "weights": jnp.ones(N)})

    def value(flat, levels):
        end = trained(problem.loss, scheduled, epochs=EPOCHS, batch_size=batch_size, levels=levels)
        at = unravel(flat)
        chosen = {name: at[name] for name in settings}
        params = end(chosen, at["params"], data, KEY, at["weights"])
        return jaxgd.mean(problem.loss)(params, problem.data(7, seed=1))

    return value, flat


def differences(value, flat):
    """Central differences in every number, all runs in one program."""
    moves = 1e-6 * jnp.eye(flat.size)
    places = flat[None] + jnp.concatenate([moves, -moves])
    values = jax.jit(jax.vmap(lambda at: value(at, 1)))(places)
    return (values[: flat.size] - values[flat.size :]) / 2e-6


def test_levels_over_short_batches_are_finite_differences_in_f64(x64):
    value, flat = one_function(B)
    expected = differences(value, flat)
    slope = jax.jit(jax.grad(value), static_argnums=1)(flat, 2)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=tolerances.HYPERGRADIENT)
    assert jnp.abs(expected).min() > 100 * tolerances.HYPERGRADIENT  # every one of them tells


def test_both_modes_are_finite_differences_in_f64(x64):
    value, flat = one_function(None)
    expected = differences(value, flat)
    back = jax.jit(jax.grad(value), static_argnums=1)(flat, 3)
    result = found(wrt=NAMES, mode="forward", batch_size=None)
    forward, _ = ravel_pytree(result.gradient)
    for slope in (back, forward):
        np.testing.assert_allclose(slope, expected, rtol=0, atol=tolerances.HYPERGRADIENT)
    assert jnp.abs(expected).min() > 100 * tolerances.HYPERGRADIENT
    assert (result.mode, result.remarks) == ("forward", ())
    for figures in result.smoothness.values():
        assert figures.predicted < 0
        assert figures.ratio == pytest.approx(1, abs=0.2)
        assert figures.agreement > 0.9


def test_few_numbers_go_forward_and_many_back_in_as_many_levels_as_the_memory_asks():
    params, data, _ = given(jnp.float32)

    def final(moving, *, levels):
        end = trained(problem.loss, optax.sgd, epochs=200, levels=levels)
        params = end({"learning_rate": moving["rate"]}, moving["params"], data)
        return jaxgd.mean(problem.loss)(params, data)

    moving = {"rate": jnp.float32(0.1), "params": params}
    few = slope_through(lambda rate, **options: final(moving | {"rate": rate}, **options), 0.1)
    assert (few.mode, few.levels) == ("forward", 1)
    plain = slope_through(final, moving)
    assert (plain.mode, plain.levels) == ("reverse", 1)
    less = slope_through(final, moving, memory=plain.held_bytes // 2)
    assert (less.mode, less.levels) == ("reverse", 2)
    assert few.held_bytes < less.held_bytes < plain.held_bytes // 2
    ours, theirs = ravel_pytree(less.gradient)[0], ravel_pytree(plain.gradient)[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.RECOMPUTED_F32)
    assert few.gradient == pytest.approx(float(plain.gradient["rate"]), rel=1e-4)


def test_switches_and_functions_are_settings_that_do_not_move():
    settings = {"lr": 0.1, "b": 1, "nesterov": True, "name": "x", "rates": jnp.ones(2), "f": abs}
    assert names_to_move(settings, None) == ("lr", "b", "rates")


def test_trained_ends_where_the_run_ends():
    params, data, settings = given(jnp.float32)
    optimizer = scheduled(**settings)
    epoch = jaxgd.minibatch(problem.loss, optimizer, B)
    state = jaxgd.init_state(params, optimizer)
    expected, _ = jax.jit(jaxgd.train(epoch, EPOCHS))(state, data, KEY)
    end = jax.jit(trained(problem.loss, scheduled, epochs=EPOCHS, batch_size=B, levels=2))
    ours = end(settings, params, data, KEY, jnp.ones(N))
    np.testing.assert_allclose(ours.w, expected.params.w, rtol=1e-5)


def one_number(loss, optimizer, settings, start=1.0, n=1, **options):
    return hypergradient(
        loss,
        jnp.float32(start),
        jnp.ones(n),
        optimizer=optimizer,
        settings=settings,
        **{"epochs": 3, "validation": jnp.ones(1), **options},
    )


def square(p, x):
    return (p * x) ** 2


@pytest.mark.parametrize(
    ("told", "optimizer", "setting", "options"),
    [
        ("in b is exactly zero", lambda b: optax.sgd(0.1), {"b": 0.9}, {}),
        ("1 of 1 numbers .* are not finite", optax.adam, {"learning_rate": 0.1}, {"start": 0.0}),
        ("is (inf|nan): the run diverged", optax.sgd, {"learning_rate": 1e15}, {}),
        ("learning_rate explodes", optax.sgd, {"learning_rate": 1.5}, {"epochs": 40}),
        (
            "not smooth in learning_rate",  # the first step ends just before a kink
            optax.sgd,
            {"learning_rate": 0.4975},
            {"epochs": 1, "validation": lambda p: 1 + jnp.abs(p)},
        ),
    ],
)
def test_what_is_wrong_is_told(told, optimizer, setting, options):
    with pytest.warns(UserWarning, match=told):
        result = one_number(lambda p, x: (p * x) ** 2, optimizer, setting, **options)
    assert len(result.remarks) == 1


def test_agreement_of_signs_is_weighted_by_the_first_change():
    first = np.array([3.0, -1.0])
    assert sign_agreement(first, np.array([0.1, -9.0])) == 1
    assert sign_agreement(first, -first) == -1
    assert sign_agreement(first, np.array([1.0, 1.0])) == 0.5
    assert np.isnan(sign_agreement(0 * first, first))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("wrt must name some of decay, params, rates, weights", {"wrt": ["rate"]}),
        ("settings must not be called params", {"settings": {"params": 1.0}}),
        ("mode must be forward or reverse; got 'back'", {"mode": "back"}),
        ("levels must be", {"levels": 0, "wrt": ["params"]}),
        ("weights must be one a row, of shape \\(11,\\)", {"weights": jnp.ones(3)}),
        ("batch_size must be", {"batch_size": 12}),
        ("settings must be finite; got decay=nan", {"settings": {"decay": float("nan")}}),
        ("data must hold at least one array", {"validation": None}),
    ],
)
def test_refusals(message, options):
    with pytest.raises(ValueError, match=message):
        found(**options)


def test_an_optimizer_that_is_made_is_refused_and_so_is_a_tracer():
    with pytest.raises(TypeError, match="optimizer must be a function that makes one of its"):
        found(optimizer=optax.sgd(0.1))
    with pytest.raises(TypeError, match="hypergradient runs on the host and cannot be traced"):
        jax.jit(lambda rate: found(settings={"rates": rate, "decay": 0.0}).value)(jnp.ones(3))


def test_a_second_call_compiles_nothing(monkeypatch):
    one_number(square, optax.sgd, {"learning_rate": 0.1})

    def refuse(*_):
        raise AssertionError("traced again")

    monkeypatch.setattr(jaxgd.study.hypergradients, "trained", refuse)
    again = one_number(square, optax.sgd, {"learning_rate": 0.2}, start=0.5)
    assert again.gradient["learning_rate"] < 0
