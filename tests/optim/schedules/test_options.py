"""Precisions, tables that end, and bad options."""

from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd import optim
from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.rates import LR, assert_close, rates

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_f32_rates_stay_near_the_f64_ones():
    """Without x64 the closed forms round, but a cosine does not lose its phase."""
    counts = jnp.array([0, 1, 69, 70, 100_000, 2_000_003], jnp.int32)
    schedule = schedules.cosine_annealing_lr(LR, 70, 0.01)
    single = jax.vmap(schedule)(counts)
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        assert_close(single, np.asarray(jax.vmap(schedule)(counts)), tolerances.SCHEDULE_F32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exponential_lr", {"lr": LR}),
        ("step_lr", {"lr": LR, "step_size": 3}),
        ("multi_step_lr", {"lr": LR, "milestones": range(100_000)}),
        ("cyclic_lr", {"base_lr": 0.0, "max_lr": LR, "step_size_up": 1, "mode": "exp_range"}),
    ],
)
def test_a_decay_near_1_keeps_its_digits_in_f32(name, options):
    counts = np.array([0, 1, 99, 10_001, 29_999, 100_000])
    schedule = getattr(schedules, name)(**options, gamma=0.9999)
    single = jax.vmap(schedule)(jnp.asarray(counts, jnp.int32))
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        assert_close(single, np.asarray(jax.vmap(schedule)(counts)), tolerances.SCHEDULE_F32)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0, 1.1])
def test_a_decay_by_any_number_that_torch_takes(gamma):
    expected = LR * np.float64(gamma) ** np.arange(9)
    assert_close(rates(schedules.exponential_lr(LR, gamma), 9), expected, tolerances.SCHEDULE_F32)


def test_a_schedule_prints_as_what_it_is():
    cosine = schedules.cosine_annealing_lr(0.1, T_max=50)
    assert repr(cosine) == "cosine_annealing_lr(lr=0.1, T_max=50)"
    assert repr(schedules.one_cycle_lr(0.1, 9)) == "one_cycle_lr(max_lr=0.1, total_steps=9)"
    sequence = schedules.sequential_lr([schedules.step_lr(0.1, 3), cosine], [7])
    assert repr(sequence) == (
        "sequential_lr(schedulers=[step_lr(lr=0.1, step_size=3), "
        "cosine_annealing_lr(lr=0.1, T_max=50)], milestones=[7])"
    )


def test_rates_past_a_table_are_nan():
    schedule = schedules.multiplicative_lr(LR, lambda c: 0.5, total_steps=3)
    np.testing.assert_allclose(rates(schedule, 4), [LR, LR / 2, LR / 4, np.nan], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_a_schedule_of_a_traced_rate_sweeps():
    def halved(lr):
        return schedules.step_lr(lr, 50, 0.5)(jnp.int32(60))

    np.testing.assert_allclose(jax.vmap(halved)(jnp.array([0.1, 0.2])), [0.05, 0.1], rtol=1e-15)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: schedules.multiplicative_lr(LR, abs, total_steps=0),
            "total_steps must be at least",
        ),
        (lambda: schedules.step_lr(LR, 0), "step_size must be a positive integer"),
        # Of a type that the tests would refuse before.
        (lambda: unwrap(schedules.step_lr)(LR, 2.5), "positive integer; got step_size=2.5"),
        (lambda: unwrap(schedules.multi_step_lr)(LR, [3, 4.5]), "integers; got milestones=4.5"),
        (lambda: unwrap(schedules.swa_lr)(LR, 0.1, 2.5), "anneal_epochs must be an integer"),
        (lambda: schedules.swa_lr(LR, 0.1, 2, "x"), "anneal_strategy must be 'cos' or 'linear'"),
        (lambda: schedules.constant_lr(LR, 1.1), r"factor must be in \[0, 1\]; got factor=1.1"),
        (lambda: schedules.linear_lr(LR, 0.0), r"start_factor must be in \(0, 1\]"),
        (lambda: schedules.linear_lr(LR, end_factor=-1.0), r"end_factor must be in \[0, 1\]"),
        (lambda: schedules.polynomial_lr(LR, -1), "total_iters must be at least 0"),
        (lambda: schedules.cosine_annealing_lr(LR, 0), "T_max must be at least 1"),
        (lambda: schedules.cosine_annealing_warm_restarts(LR, 0), "T_0 must be a positive int"),
        (lambda: schedules.cyclic_lr(0.1, 1.0, mode="square"), "mode must be one of triangular"),
        (lambda: schedules.cyclic_lr(0.1, 1.0, 0), "step_size_up must be positive"),
        (lambda: schedules.one_cycle_lr(1.0), "total_steps, or both epochs and steps_per_epoch"),
        (lambda: schedules.one_cycle_lr(1.0, 0), "must be positive"),
        (lambda: schedules.one_cycle_lr(1.0, 9, pct_start=1.5), r"pct_start must be in \[0, 1\]"),
        (lambda: schedules.one_cycle_lr(1.0, 10, pct_start=0.1), "must not be 1"),
        (lambda: schedules.one_cycle_lr(1.0, 9, anneal_strategy="x"), "must be 'cos' or 'linear'"),
        (lambda: schedules.reduce_lr_on_plateau(LR, factor=1.0), "factor must be below 1"),
        (lambda: schedules.reduce_lr_on_plateau(LR, "up"), "mode must be 'min' or 'max'"),
        (lambda: schedules.sequential_lr([], []), "schedulers must be one or more"),
        (
            lambda: schedules.sequential_lr([schedules.step_lr(LR, 5)], [3]),
            "milestones must be one fewer",
        ),
        (
            lambda: schedules.sequential_lr([schedules.step_lr(LR, 5)] * 3, [5, 3]),
            "milestones must be non-negative and rise",
        ),
        (
            lambda: schedules.chained_scheduler(
                [schedules.step_lr(LR, 5), schedules.step_lr(0.2, 5)], total_steps=9
            ),
            "must share one lr",
        ),
    ],
)
def test_bad_options(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


@pytest.mark.usefixtures("x64")
def test_a_sequence_of_a_traced_rate_sweeps():
    def decayed(lr):
        copies = jnp.copy(lr), jnp.copy(lr)  # two tracers of one rate
        sequence = [schedules.constant_lr(copies[0], 0.5, 9), schedules.step_lr(copies[1], 1)]
        return schedules.sequential_lr(sequence, [3])(jnp.int32(4))

    np.testing.assert_allclose(jax.vmap(decayed)(jnp.array([1.0, 2.0])), [0.1, 0.2], rtol=1e-15)


def test_compositions_do_not_compose():
    sequence = schedules.sequential_lr([schedules.step_lr(LR, 5)], [])
    chain = schedules.chained_scheduler([schedules.step_lr(LR, 5)], total_steps=9)
    for composition in (sequence, chain):
        with pytest.raises(TypeError, match=r"single schedules or cycles; got .'Composition'"):
            schedules.sequential_lr([composition], [])
        with pytest.raises(TypeError, match=r"single schedules or cycles; got .'Composition'"):
            schedules.chained_scheduler([composition], total_steps=9)


def test_one_momentum_is_cycled_once():
    cycles = [schedules.one_cycle_lr(1.0, 9)] * 2
    with pytest.raises(ValueError, match="must not cycle momentum more than once; got 2"):
        schedules.sequential_lr(cycles, [4])


def test_one_cycle_sets_the_initial_rate():
    with pytest.raises(ValueError, match="one_cycle_lr makes it max_lr / div_factor"):
        schedules.sequential_lr([schedules.step_lr(LR, 5), schedules.one_cycle_lr(1.0, 9)], [4])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rprop"])
def test_a_plateau_is_no_schedule_of_the_count(optimizer):
    with pytest.raises(TypeError, match=r"looks at a value\. Use optax.inject_hyperparams"):
        optim.by_name(optimizer)(lr=schedules.reduce_lr_on_plateau(LR))
