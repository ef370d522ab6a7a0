"""ReduceLROnPlateau's rates over a noisy value, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.rates import COUNTS, LR, assert_close

pytestmark = pytest.mark.usefixtures("quick_compile")

TOGETHER = {
    "warm-up": (
        lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=60),
        schedules.linear_lr(LR, 0.1, total_iters=60),
    ),
    "cosine with a floor": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 150, 0.01),
        schedules.cosine_annealing_lr(LR, 150, 0.01),
    ),
    "one that overwrites": (
        lambda o: lr_scheduler.LambdaLR(o, lambda c: 1 / (1 + c / 50)),
        schedules.lambda_lr(LR, lambda c: 1 / (1 + c / 50)),
    ),
}


def torch_plateau(values, **options):
    """The rate torch uses at every update, each followed by its value."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    used = []
    for value in values:
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(value)
    return np.array(used)


def plateau(values, **options):
    """The rate ours uses, from one compiled scan."""
    schedule = schedules.reduce_lr_on_plateau(LR, **options)

    def update(state, value):
        return schedule.update(state, value=value), schedule(state)

    return jax.jit(lambda values: jax.lax.scan(update, schedule.init(), values)[1])(values)


def noisy_fall(seed):
    """A loss that falls, then only jitters, then jumps: every branch of the plateau is taken."""
    noise = np.random.default_rng(seed).normal(size=COUNTS)
    return 1 / (1 + np.arange(COUNTS) / 20) + 0.02 * noise + 0.3 * (np.arange(COUNTS) > 450)


@pytest.mark.usefixtures("x64")
class TestPlateau:
    @pytest.mark.parametrize("mode", ["min", "max"])
    @pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
    @pytest.mark.parametrize(
        "options",
        [
            {"patience": 0, "factor": 0.9},
            {"patience": 5, "factor": 0.5, "cooldown": 7},
            {"patience": 3, "factor": 0.3, "min_lr": 0.01, "threshold": 0.05},
            {"patience": 2, "factor": 0.7, "eps": 1e-3},
        ],
    )
    def test_rates(self, mode, threshold_mode, options):
        options = options | {"mode": mode, "threshold_mode": threshold_mode}
        values = noisy_fall(0) * (1 if mode == "min" else -1)
        expected = torch_plateau(values, **options)
        assert np.unique(expected).size > 3
        np.testing.assert_array_equal(plateau(jnp.asarray(values), **options), expected)

    def test_a_value_that_is_nan_is_bad(self):
        values = np.r_[1.0, np.full(30, np.nan)]
        np.testing.assert_array_equal(plateau(jnp.asarray(values)), torch_plateau(values))

    def test_an_update_without_a_value_changes_nothing(self):
        schedule = schedules.reduce_lr_on_plateau(LR, patience=0)
        state = schedule.update(schedule.init(), value=1.0)
        assert schedule.update(state)._replace(last_epoch=state.last_epoch) == state

    @pytest.mark.parametrize("every", [1, 7])
    @pytest.mark.parametrize("other", TOGETHER)
    def test_together_with_another_schedule(self, other, every):
        """Stepped before it at every update, the plateau at every seventh or so."""
        build, together_with = TOGETHER[other]
        options = {"patience": 2, "factor": 0.6, "cooldown": 1, "min_lr": 1e-3}
        values = noisy_fall(0)[:280]
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
        scheduler = build(optimizer)
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        expected = []
        for t, value in enumerate(values):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            if t % every == 0:
                plateau.step(value)

        schedule = schedules.reduce_lr_on_plateau(LR, **options, together_with=together_with)

        def update(state, inputs):
            value, told = inputs
            with_value, without = schedule.update(state, value=value), schedule.update(state)
            moved = jax.tree.map(lambda a, b: jnp.where(told, a, b), with_value, without)
            return moved, schedule(state)

        told = jnp.arange(len(values)) % every == 0
        ours = jax.lax.scan(update, schedule.init(), (jnp.asarray(values), told))[1]
        assert np.unique(expected).size > 3
        assert_close(ours, np.array(expected), tolerances.SCHEDULE_COMPOSED_F64)

    def test_two_rates_are_refused(self):
        with pytest.raises(ValueError, match=r"schedulers must share one lr, .* \[0.3, 0.1\]"):
            schedules.reduce_lr_on_plateau(LR, together_with=schedules.step_lr(0.1, 3))

    def test_a_canary_of_one_update_of_patience(self):
        values = noisy_fall(0)
        expected = torch_plateau(values, patience=5, factor=0.5)
        assert np.any(plateau(jnp.asarray(values), patience=4, factor=0.5) != expected)
