"""The critical batch size by training, where the expected runs can be computed by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.study import critical_batch_size, prediction
from jaxgd.study.critical_size import fitted_hyperbola, updates_at
from jaxgd.study.estimates import Estimate

N, D = 4096, 4
pytestmark = pytest.mark.usefixtures("quick_compile")
SIZES = (2, 8, 64)
START, TARGET, TRACE = 1.0, 0.05, 2.0


def loss(params, row):
    """A parabola: the noise of its gradient is the same everywhere."""
    return jnp.sum((params - row) ** 2) / 2


def expected_updates(b):
    """The updates in which e/2, e = E|θ|², falls to the target at the best constant rate.

    e ← (1 - η)² e + η² tr Σ / b
    """
    best = np.inf
    for rate in np.geomspace(0.01, 1, 400):
        e, t = START, 0
        while e / 2 > TARGET and t < 400:
            before, e, t = e, (1 - rate) ** 2 * e + rate**2 * TRACE / b, t + 1
        if e / 2 <= TARGET:
            best = min(best, t - 1 + (before / 2 - TARGET) / (before / 2 - e / 2))
    return best


def test_it_is_what_the_expected_runs_have():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, D))
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
    wanted = np.asarray([expected_updates(b) for b in SIZES])
    assert found.is_best.all()
    np.testing.assert_allclose(found.updates, wanted, rtol=0.2)  # means of 64 seeds arrive early
    _, critical = fitted_hyperbola(np.asarray(SIZES, float), wanted, N)
    assert found.critical.low <= critical <= found.critical.high
    np.testing.assert_allclose(found.critical.value, critical, rtol=0.3)
    assert float(jnp.sum(found.reached.params**2)) < START


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
        ({"batch_sizes": [4, 5]}, "at least 3 batch sizes must reach the target; 2 of 2 did in"),
    ],
)
def test_refusals(change, message):
    given = {"batch_sizes": [4, 8, 16], "target": 0.4, "seeds": 2} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        critical_batch_size(
            loss,
            jnp.full(D, 0.5),
            jnp.zeros((16, D)),
            optimizer=lambda rate: jaxgd.optim.sgd(lr=rate),
            learning_rate=0.1,
            key=jax.random.key(0),
            **given,
        )
