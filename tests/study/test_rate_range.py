"""The rate that is found is one that clean runs confirm, whatever the ramp suggested.

The known faults of other finders are here by the numbers of their issues.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd.study import largest_stable_rate, learning_rate_range, sharpness
from jaxgd.study.bracket import bracketed
from jaxgd.study.ramp import read_ramp, smoothed
from jaxgd.study.short_runs import measured
from tests import tolerances
from tests.laws.problem import KEY, B, data, loss

pytestmark = pytest.mark.usefixtures("quick_compile")

RATES = np.geomspace(1e-7, 10, 100)
SQUARED = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
ZEROS = jaxgd.init_linear(5)


def falling(rates=RATES):
    """A loss that is flat, falls around a rate of 0.01 and rises from 1 on, as a ramp shows it."""
    return 1 - 0.8 / (1 + (0.01 / rates) ** 2) + (rates / 3) ** 4


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_fastai_3476_and_lightning_1850_losses_that_are_not_finite(lost):
    """argmin over NaN is the NaN's own place; losses after it are of a run that is lost."""
    losses = falling()
    losses[85:] = lost
    found = read_ramp(RATES, losses, 0.9)
    assert len(found.losses) == 85
    assert found.suggestion == read_ramp(RATES[:85], losses[:85], 0.9).suggestion
    assert 1e-3 < found.suggestion < 1e-1
    losses[86:] = 1e-3  # finite again, and lower: still lost
    assert read_ramp(RATES, losses, 0.9).suggestion == found.suggestion


def test_lightning_14167_smoothing_starts_at_the_losses_and_not_at_zero():
    np.testing.assert_allclose(smoothed(np.full(50, 2.3), 0.98), 2.3, rtol=1e-12)
    found = read_ramp(RATES, falling(), 0.98)
    assert np.diff(found.smoothed[:40]).max() <= 1e-12  # it does not rise before it falls
    assert found.suggestion > 1e-3


def test_lightning_21141_the_slope_is_by_the_logarithm_of_the_rate():
    """By the rate itself a fall of 1e-6 at a rate of 1e-7 is the steepest of all."""
    losses = falling() - 1e-5 * np.log(RATES / RATES[0])
    assert RATES[np.argmin(np.gradient(losses, RATES))] < 1e-6
    assert 1e-3 < read_ramp(RATES, losses, 0.5).suggestion < 1e-1


def test_lightning_1767_early_noise_is_not_the_steepest_fall():
    noise = np.random.default_rng(0).normal(size=(20, 100)) * 0.1
    suggestions = [read_ramp(RATES, falling() + each, 0.9).suggestion for each in noise]
    assert np.median(suggestions) > 1e-3


@pytest.mark.parametrize("losses", [[], [np.nan], [1.0, np.nan], [1.0, 2.0, 3.0]])
def test_lightning_10557_and_4846_too_few_points_suggest_nothing(losses):
    assert read_ramp(RATES[: len(losses)], np.array(losses), 0.9).suggestion is None


def parabola(best, orders=1):
    """Runs that end lowest at a rate of `best` and are lost from 8 times as much on."""

    def end_losses(rates):
        losses = np.log(rates / best) ** 2 / 100
        losses = np.where(rates > 8 * best, np.inf, losses)
        return np.repeat(losses[:, None], orders, axis=1)

    return end_losses


@pytest.mark.parametrize("centre", [1e-7, 1e-3, 0.1, 1.0, 1e3])
def test_a_wrong_suggestion_is_corrected(centre):
    found = bracketed(parabola(0.1), centre, start_loss=2.0)
    assert found.confirmed
    assert 0.1 / 2**0.5 <= found.rates[found.best] <= 0.1 * 2**0.5
    assert np.all(np.diff(found.rates) > 0)


def test_where_no_rate_lowers_the_loss_none_is_confirmed():
    """Params at their best already: every rate leaves them worse."""
    found = bracketed(lambda rates: 1 + np.minimum(rates, 1e30)[:, None], 1e-3, start_loss=1.0)
    assert (found.best, found.confirmed) == (None, False)


def test_of_rates_within_one_standard_error_the_smallest_is_taken():
    losses = np.full((9, 3), 1.0)
    losses[5], losses[4], losses[3] = [0.10, 0.20, 0.30], [0.15, 0.20, 0.28], [0.15, 0.25, 0.35]
    found = bracketed(lambda rates: losses, 1.0, start_loss=1.0)
    assert found.best == 4  # 3 is worse by 0.05 in every order: no noise explains it


@pytest.fixture(scope="module")
def quadratic():
    x, y = data(64)
    table = x, jnp.asarray(y, x.dtype)
    found = learning_rate_range(SQUARED, ZEROS, table, optimizer=optax.sgd, key=KEY, updates=50)
    return table, found


def test_of_full_batch_descent_it_is_below_the_exact_threshold(quadratic):
    table, found = quadratic
    threshold = largest_stable_rate(sharpness(jaxgd.mean(SQUARED), ZEROS, table).value)
    assert found.confirmed
    assert threshold / 8 < found.rate < threshold
    means = found.bracket.losses.mean(axis=1)
    diverged = found.bracket.rates > 1.1 * threshold
    assert diverged.any()
    assert np.all(means[diverged] > found.start_loss)
    assert str(found).startswith(f"learning rate {found.rate:.3g}, the best of ")


def test_a_clean_run_is_train_at_that_rate(quadratic):
    table, found = quadratic
    best = found.bracket.best
    optimizer = optax.sgd(float(found.bracket.rates[best]))
    run = jaxgd.train(jaxgd.gd(SQUARED, optimizer), 50, order=None)
    state, _ = run(jaxgd.init_state(ZEROS, optimizer), table)
    np.testing.assert_allclose(
        found.bracket.losses[best, 0],
        jaxgd.mean(SQUARED)(state.params, table),
        rtol=tolerances.RUN_AT_RATES_F32,
    )


def whole_batches(key, n):
    return jaxgd.whole(jaxgd.shuffle(key, n), B)


def test_of_mini_batches_clean_runs_are_train_by_three_orders_of_its_full_batches():
    options = {"optimizer": optax.sgd, "batch_size": B, "updates": 6}
    found = learning_rate_range(loss, ZEROS, data(), key=KEY, **options)
    assert found.confirmed
    best = found.bracket.best
    optimizer = optax.sgd(float(found.bracket.rates[best]))
    run = jax.jit(jaxgd.train(jaxgd.minibatch(loss, optimizer, B), 2, order=whole_batches))
    for i, ours in enumerate(found.bracket.losses[best]):
        key = jax.random.fold_in(KEY, i)
        state, _ = run(jaxgd.init_state(ZEROS, optimizer), data(), key)
        theirs = jaxgd.mean(loss)(state.params, data())
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.RUN_AT_RATES_F32)


def test_the_end_is_measured_on_rows_that_are_evenly_spread():
    rows = np.asarray(measured(jnp.arange(7 * 2048)))
    assert (rows[0], len(rows)) == (0, 4096)
    assert set(np.diff(rows).tolist()) == {3, 4}
    assert measured(ZEROS.w) is ZEROS.w


def test_settings_out_of_range_are_told():
    def find(**options):
        learning_rate_range(loss, ZEROS, data(), **{"optimizer": optax.sgd, **options})

    with pytest.raises(
        ValueError, match=r"rates must be two finite ones above 0.* got rates=\(1\.0,"
    ):
        find(rates=(1.0, 0.1))
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\); got smoothing=1"):
        find(smoothing=1.0)
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, n\]"):
        find(batch_size=100)
    with pytest.raises(TypeError, match="runs on the host and cannot be traced"):
        jax.jit(lambda p: learning_rate_range(loss, p, data(), optimizer=optax.sgd).rate)(ZEROS)
