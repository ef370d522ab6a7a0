"""The critical batch size by training, where the expected runs can be computed by hand."""

import re
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from benchmarks.critical_coverage import START, TARGET, TRACE, D, N, coverage, expected_updates
from jaxgd.study import critical_batch_size, prediction
from jaxgd.study.critical_size import fitted_hyperbola, updates_at
from jaxgd.study.estimates import Estimate

pytestmark = pytest.mark.usefixtures("quick_compile")
SIZES = (2, 8, 64)


def loss(params, row):
    """A parabola: the noise of its gradient is the same everywhere."""
    return jnp.sum((params - row) ** 2) / 2


def test_it_is_what_the_expected_runs_have():
    rows = np.random.default_rng(0).normal(size=(N, D))
    rows = (rows - rows.mean(0)) / rows.std(0) * np.sqrt(TRACE / D)
    found = critical_batch_size(
        loss,
        jnp.full(D, np.sqrt(START / D), jnp.float32),
        jnp.asarray(rows, jnp.float32),
        optimizer=lambda rate: jaxgd.optim.sgd(lr=rate),
        learning_rate=0.02,
        batch_sizes=SIZES,
        target=TARGET,
        key=jax.random.key(1),
        judged=jnp.zeros((1, D), jnp.float32),
        seeds=64,
        most=400,
    )
    wanted = np.asarray([expected_updates(b)[0] for b in SIZES])
    assert found.is_best.all()
    np.testing.assert_allclose(found.updates, wanted, rtol=0.2)  # means of 64 seeds arrive early
    _, critical = fitted_hyperbola(np.asarray(SIZES, float), wanted, N)
    assert found.critical.low <= critical <= found.critical.high
    np.testing.assert_allclose(found.critical.value, critical, rtol=0.3)
    assert float(jnp.sum(found.reached.params**2)) < START


def test_the_interval_holds_the_size_as_often_as_it_says():
    """Of 8 seeds, 200 times: the binomial deviation is 0.015 at 0.95 and 0.03 at 0.8."""
    (usual, _), (narrow, _) = coverage(SIZES, 200, 8, (0.95, 0.8))
    assert 0.9 <= usual <= 0.99
    assert 0.73 <= narrow <= 0.92


def test_the_hyperbola_is_found_exactly():
    b = np.asarray([1.0, 4, 16, 100])
    fitted = fitted_hyperbola(b, updates_at(b, 100, 7.0, 12.0), 100)
    np.testing.assert_allclose(fitted, (7, 12), rtol=1e-12)
    assert fitted_hyperbola(b[:3], 50 / b[:3] - 1, 100)[1] == np.inf
    assert fitted_hyperbola(b, np.full(4, 9.0), 100)[1] < 1e-12


def test_a_verdict_either_way():
    critical = Estimate(np.asarray(20.0), np.asarray(15.0), np.asarray(30.0))
    holds = prediction(critical, 1.0, 400.0)
    assert holds.holds is True
    assert holds.factor == pytest.approx(1)
    assert holds.told.endswith("within a factor of 2, though it moved 4e+02-fold on the way.")
    fails = prediction(critical, 2.0, 8.0)
    assert fails.holds is False
    assert fails.told == (
        "critical batch size 20 (15 to 30) by training; noise scale 2 where the runs branch, 8 "
        "where they arrive, 4 between: it does not predict it here, 5 times too small."
    )
    wide = critical._replace(low=np.asarray(1.0), high=np.asarray(200.0))
    assert prediction(wide, 100.0, 100.0).holds is None
    assert "cannot tell" in prediction(wide, 100.0, 100.0).told
    assert prediction(critical, 40.0, np.inf).holds is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 9.0}, "target must be below the loss of the start, 0.5; got target=9."),
        ({"seeds": 1}, "seeds must be at least 2; got seeds=1. The interval needs several."),
        ({"batch_sizes": [4, 5]}, "batch_sizes must be 3 or more different ones; got [4, 5]."),
        ({"confidence": 1.0}, "confidence must be between 0 and 1; got confidence=1.0."),
        ({"learning_rate": -0.1}, "learning_rate must be finite and greater than 0; got"),
        ({"learning_rate": np.nan}, "learning_rate must be finite and greater than 0; got"),
        ({"optimizer": jaxgd.optim.sgd()}, "optimizer must be a function that makes one of its"),
    ],
)
def test_refusals(change, message):
    error = TypeError if "optimizer" in change else ValueError
    with pytest.raises(error, match=re.escape(message)):
        refused(jnp.full(D, 0.5), **change)


def refused(params, **change):
    given = {"batch_sizes": [4, 8, 16], "target": 0.4, "seeds": 2, "learning_rate": 0.1}
    key, optimizer = jax.random.key(0), jaxgd.optim.sgd
    options = {"optimizer": optimizer, "key": key} | given | change
    return unchecked(critical_batch_size)(loss, params, jnp.zeros((16, D)), **options)


def test_it_cannot_be_traced():
    with pytest.raises(
        TypeError, match="critical_batch_size runs on the host and cannot be traced"
    ):
        jax.jit(lambda params: refused(params).target)(jnp.ones(D))
