"""Successive halving: who stays is who is best, and goes on as if nobody had left."""

import jax
import numpy as np
import pytest

from jaxgd import optim
from jaxgd.study import successive_halving, sweep
from tests.study.single_runs import LOSS, rows, start
from tests.tolerances import SWEEP_F32

pytestmark = pytest.mark.usefixtures("quick_compile")

SHARED = {
    "optimizer": optim.sgd,
    "grid": {"lr": [1e5, 0.001, 0.1, 0.03]},
    "batch_sizes": (4, 10),
    "seeds": (0, 1),
    "devices": jax.devices()[:1],
}


@pytest.mark.filterwarnings("ignore:the best setting lies")
def test_survivors_go_on_as_in_a_sweep_of_all():
    found = successive_halving(LOSS, start(), rows(24), budget=32, rungs=2, **SHARED)
    first, last = found.rungs
    assert (len(first.settings), first.epoch) == (8, 2)
    assert (len(last.settings), last.epoch) == (3, 7)
    assert found.spent == 8 * 2 + 3 * 5 <= 32
    assert np.isinf(first.loss[:2]).all()  # lr = 1e5 diverges; it is the first to go
    lowest = np.sort(np.argsort(first.loss)[:3])
    np.testing.assert_array_equal(last.settings, lowest)

    whole = sweep(LOSS, start(), rows(24), epochs=7, **SHARED)
    every = whole.losses.values.reshape(8, 2, 7)
    np.testing.assert_allclose(
        found.losses.values[last.settings], every[last.settings], rtol=0, atol=SWEEP_F32
    )
    gone = np.setdiff1d(first.settings, last.settings)
    assert np.isnan(found.losses.values[gone, :, 2:]).all()
    assert found.best.loss == pytest.approx(last.loss.min())
    final = whole.losses.values.reshape(8, 2, 7)[..., -1].mean(-1)
    assert found.best.loss == pytest.approx(np.nanmin(final[last.settings]), rel=1e-4)


def test_a_budget_too_small_for_all_is_refused():
    with pytest.raises(ValueError, match="budget must be rungs × settings epochs or more, 3 × 8"):
        successive_halving(LOSS, start(), rows(24), budget=23, **SHARED)


def test_where_all_diverge_the_runs_are_kept_and_only_the_best_is_refused():
    lost = SHARED | {"grid": {"lr": [1e5, 1e6]}}
    with pytest.warns(UserWarning, match="a setting must be finite with every seed to be the best"):
        found = successive_halving(LOSS, start(), rows(24), budget=16, rungs=2, **lost)
    assert np.isinf(found.rungs[-1].loss).all()
    with pytest.raises(FloatingPointError, match="Use smaller learning rates"):
        _ = found.best
