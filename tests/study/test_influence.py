"""What rows do to a run is held against the runs without them."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import spearmanr

import jaxgd
from jaxgd.study import influence, weighted_mean
from jaxgd.study.influences import rank_correlation
from tests.laws import problem

pytestmark = pytest.mark.usefixtures("quick_compile")

N = 40
WRONG = np.argsort(np.linalg.norm(problem.data(N)[0], axis=1))[-3:].tolist()


@pytest.fixture(scope="module")
def mislabelled():
    x, y = jax.tree.map(lambda a: a[:N], problem.data(100))
    return x, y.at[jnp.asarray(WRONG)].set(1 - y[jnp.asarray(WRONG)])


@pytest.fixture(scope="module")
def of_gd(mislabelled):
    return of(mislabelled, epochs=12)


def held_out():
    """Of the same truth as the rows, and labelled rightly."""
    return jax.tree.map(lambda a: a[N:], problem.data(100))


def of(data, **options):
    params = jaxgd.init_linear(problem.D)
    settings = {"optimizer": optax.sgd(1.0), "validation": held_out(), **options}
    return unchecked(influence)(problem.loss, params, data, **settings)


def test_what_is_foretold_agrees_with_all_runs_without_a_row(of_gd):
    assert of_gd.retrained.tolist() == list(range(N))
    assert of_gd.correlation == rank_correlation(of_gd.foretold, of_gd.measured) > 0.95
    assert set(WRONG) <= set(of_gd.harmful(6).tolist())
    assert not set(WRONG) & set(of_gd.helpful(20).tolist())
    assert of_gd.remarks == ()
    first = str(of_gd).splitlines()[0]
    assert f"rank correlation {of_gd.correlation:.3f} with {N} runs without a row" in first


def test_a_run_without_a_row_is_the_run_on_the_table_without_it(of_gd, mislabelled):
    run = jax.jit(jaxgd.train(jaxgd.gd(problem.loss, optax.sgd(1.0)), 12, order=None))
    state = jaxgd.init_state(jaxgd.init_linear(problem.D), optax.sgd(1.0))
    score = jax.jit(jaxgd.mean(problem.loss))
    everything = score(run(state, mislabelled)[0].params, held_out())
    assert of_gd.value == pytest.approx(float(everything), rel=1e-5)
    for row in (0, WRONG[1], N - 1):
        rest = jax.tree.map(lambda a, row=row: jnp.delete(a, row, axis=0), mislabelled)
        change = score(run(state, rest)[0].params, held_out()) - everything
        assert of_gd.measured[row] == pytest.approx(float(change), abs=1e-6)
        assert abs(change) > 1e-5


def test_a_sample_of_rows_in_batches_whose_last_is_one_row(mislabelled):
    options = {"batch_size": 13, "key": problem.KEY, "epochs": 4, "levels": 2}
    result = of(mislabelled, retrain=20, optimizer=optax.sgd(0.1), **options)
    assert result.foretold.shape == (N,)
    assert result.retrained.tolist() == np.linspace(0, N - 1, 20).round().tolist()
    assert result.measured.shape == (20,)
    assert result.correlation > 0.9
    assert result.levels == 2


def test_foretold_ranks_that_the_runs_belie_are_told(mislabelled):
    """A rate far above what is stable: the run without a row is another run."""
    with pytest.warns(UserWarning, match="rank correlation of .* believe the runs alone"):
        result = of(mislabelled, optimizer=optax.sgd(60.0), epochs=30)
    assert not result.correlation > 0.5


def test_rank_correlation_is_spearmans_with_ties():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, (2, 30)).astype(float)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(rank_correlation(one, 0 * other))


def test_a_batch_divides_by_its_own_weight():
    objective = weighted_mean(lambda p, x: p * x)
    x = jnp.asarray([1.0, 2.0, 6.0])
    two = jnp.float32(2.0)
    assert objective(two, (x, jnp.ones(3))) == 6
    assert objective(two, (x, jnp.asarray([1.0, 0.0, 3.0]))) == 2 * 19 / 4
    assert objective(two, (x[:1], jnp.asarray([0.5]))) == 1  # of one row it would cancel
    value, slope = jax.value_and_grad(objective)(two, (x, jnp.zeros(3)))
    assert (value, slope) == (0, 0)


def test_refusals(mislabelled):
    with pytest.raises(ValueError, match="retrain must be at least 2; got 1 of n=40"):
        of(mislabelled, epochs=2, retrain=1)
    with pytest.raises(TypeError, match=r"optimizer must be one of optax.s .* Call it"):
        of(mislabelled, epochs=2, optimizer=optax.sgd)
    with pytest.raises(TypeError, match="influence runs on the host and cannot be traced"):
        jax.jit(lambda data: of(data, epochs=2).value)(mislabelled)
