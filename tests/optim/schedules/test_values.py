"""A schedule is a value: it sweeps under vmap over its own options, and prints as what it is."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.rates import LR

pytestmark = pytest.mark.usefixtures("quick_compile")

LRS = [0.1, 0.3]
COUNTS = jnp.arange(90)


def sequence(lr, first, start_factor, gamma):
    parts = schedules.linear_lr(lr, start_factor, 1.0, 9), schedules.exponential_lr(lr, gamma)
    last = schedules.swa_lr(lr, 0.05, 7)
    return schedules.sequential_lr([*parts, last], [first, 60])


def chain(lr, gamma, eta_min):
    cosine = schedules.cosine_annealing_lr(lr, 40, eta_min)
    return schedules.chained_scheduler(
        [schedules.exponential_lr(lr, gamma), cosine], total_steps=len(COUNTS)
    )


# Two values of every option that is a number: both at once under vmap, and each by itself.
SWEPT = {
    "lambda_lr": (lambda lr: schedules.lambda_lr(lr, lambda c: 1 / (1 + c)), {"lr": LRS}),
    "multiplicative_lr": (
        lambda lr: schedules.multiplicative_lr(lr, lambda c: 0.9, total_steps=90),
        {"lr": LRS},
    ),
    "step_lr": (schedules.step_lr, {"lr": LRS, "step_size": [3, 7], "gamma": [0.5, 0.9]}),
    "multi_step_lr": (
        lambda lr, first, second, gamma: schedules.multi_step_lr(lr, [first, second], gamma),
        {"lr": LRS, "first": [40, -3], "second": [9, 50], "gamma": [0.5, 0.9]},
    ),
    "constant_lr": (
        schedules.constant_lr,
        {"lr": LRS, "factor": [0.5, 0.2], "total_iters": [0, 30]},
    ),
    "linear_lr": (
        schedules.linear_lr,
        {"lr": LRS, "start_factor": [0.5, 1.0], "end_factor": [1.0, 0.3], "total_iters": [0, 30]},
    ),
    "exponential_lr": (schedules.exponential_lr, {"lr": LRS, "gamma": [0.9, 0.99]}),
    "polynomial_lr": (
        schedules.polynomial_lr,
        {"lr": LRS, "total_iters": [0, 30], "power": [1.0, 2.5]},
    ),
    "cosine_annealing_lr": (
        schedules.cosine_annealing_lr,
        {"lr": LRS, "T_max": [20, 33], "eta_min": [0.0, 0.01]},
    ),
    "cosine_annealing_warm_restarts": (
        schedules.cosine_annealing_warm_restarts,
        {"lr": LRS, "T_0": [7, 5], "T_mult": [1, 3], "eta_min": [0.0, 0.01]},
    ),
    "cyclic_lr": (
        lambda **options: schedules.cyclic_lr(mode="exp_range", **options),
        {
            "base_lr": [0.01, 0.02],
            "max_lr": LRS,
            "step_size_up": [5, 9],
            "step_size_down": [7, 0],
            "gamma": [0.99, 0.9],
            "base_momentum": [0.5, 0.6],
            "max_momentum": [0.9, 0.8],
        },
    ),
    "one_cycle_lr": (
        schedules.one_cycle_lr,
        {
            "max_lr": LRS,
            "total_steps": [90, 120],
            "pct_start": [0.3, 0.5],
            "div_factor": [25.0, 10.0],
            "final_div_factor": [1e4, 10.0],
            "base_momentum": [0.5, 0.6],
            "max_momentum": [0.9, 0.8],
        },
    ),
    "swa_lr": (schedules.swa_lr, {"lr": LRS, "swa_lr": [0.05, 0.01], "anneal_epochs": [0, 20]}),
    "sequential_lr": (
        sequence,
        {"lr": LRS, "first": [0, 20], "start_factor": [0.5, 0.1], "gamma": [0.9, 0.99]},
    ),
    "chained_scheduler": (chain, {"lr": LRS, "gamma": [0.9, 0.99], "eta_min": [0.0, 0.01]}),
    "reduce_lr_on_plateau": (
        schedules.reduce_lr_on_plateau,
        {
            "lr": LRS,
            "factor": [0.5, 0.9],
            "patience": [0, 3],
            "threshold": [1e-4, 0.05],
            "cooldown": [0, 4],
            "min_lr": [0.0, 0.01],
            "eps": [1e-8, 1e-3],
        },
    ),
}


def rates(schedule):
    """The rate at every count, with the momentum of a cycle; of a plateau over a noisy value."""
    if isinstance(schedule, schedules.PlateauSchedule):
        values = jnp.asarray(np.random.default_rng(0).normal(size=len(COUNTS)))

        def update(state, value):
            return schedule.update(state, value=value), schedule(state)

        return jax.lax.scan(update, schedule.init(), values)[1]
    momentum = getattr(schedule, "momentum", None) or schedule
    return jnp.stack([jax.vmap(schedule)(COUNTS), jax.vmap(momentum)(COUNTS)])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep_is_its_schedules_one_by_one(name):
    build, options = SWEPT[name]
    arrays = {option: jnp.asarray(values) for option, values in options.items()}
    swept = jax.vmap(lambda options: rates(build(**options)))(arrays)
    assert np.isfinite(swept).all()
    for i in range(2):
        alone = rates(build(**{option: values[i] for option, values in options.items()}))
        np.testing.assert_allclose(swept[i], alone, rtol=0, atol=tolerances.SCHEDULE_F64)
    assert np.abs(swept[0] - swept[1]).max() > 1e-3


def public():
    return {name for name in schedules.__all__ if inspect.isfunction(getattr(schedules, name))}


def test_every_schedule_is_swept_by_every_number():
    assert set(SWEPT) == public()
    for name, (build, options) in SWEPT.items():
        if build is getattr(schedules, name):
            numbers = {
                option
                for option, parameter in inspect.signature(build).parameters.items()
                if "numpy.number" in str(parameter.annotation) and "Sequence" not in str(parameter)
            }
            epochs = {"epochs", "steps_per_epoch"}  # whose product is total_steps
            assert numbers - epochs == set(options), name


@pytest.mark.parametrize("name", SWEPT)
def test_every_schedule_prints_as_the_call_that_makes_it(name):
    """That call makes it again, where its options are numbers."""
    build, options = SWEPT[name]
    schedule = build(**{option: values[1] for option, values in options.items()})
    assert repr(schedule).startswith(f"{name}(")
    if "lambda" not in repr(schedule):
        again = eval(repr(schedule), vars(schedules))
        assert repr(again) == repr(schedule)
        np.testing.assert_array_equal(rates(again), rates(schedule))


@pytest.mark.usefixtures("x64")
def test_a_chain_traced_is_the_chain_of_numbers():
    traced = jax.jit(lambda lr: jax.vmap(chain(lr, 0.9, 0.01))(COUNTS))(LR)
    np.testing.assert_allclose(
        traced, jax.vmap(chain(LR, 0.9, 0.01))(COUNTS), rtol=0, atol=tolerances.SCHEDULE_F64
    )
