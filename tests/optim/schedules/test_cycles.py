"""CyclicLR and OneCycleLR at every count, momentum too."""

import numpy as np
import pytest
from torch.optim import lr_scheduler

from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.rates import COUNTS, rates, torch_options

pytestmark = [pytest.mark.usefixtures("x64", "quick_compile")]

CYCLIC = {
    "triangular": {"step_size_up": 20},
    "uneven": {"step_size_up": 13, "step_size_down": 31},
    "saw": {"step_size_up": 17, "step_size_down": 0},
    "triangular2": {"step_size_up": 9, "mode": "triangular2"},
    "exp_range": {"step_size_up": 25, "mode": "exp_range", "gamma": 0.995},
    "own scale of cycles": {"step_size_up": 12, "scale_fn": lambda k: 1 / (5.0 * k)},
    "own scale of updates": {
        "step_size_up": 12,
        "scale_fn": lambda c: 0.99**c,
        "scale_mode": "iterations",
    },
    "own momentum": {"step_size_up": 12, "base_momentum": 0.6, "max_momentum": 0.99},
}

ONE_CYCLE = {
    "default": {},
    "linear": {"anneal_strategy": "linear"},
    "three phases": {"three_phase": True},
    "three linear phases": {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.45},
    "from the peak": {"pct_start": 0.0},
    "only up": {"pct_start": 1.0},
    "a fraction of an update": {"pct_start": 0.0333},
    "factors": {"div_factor": 5.0, "final_div_factor": 20.0, "base_momentum": 0.5},
}


@pytest.mark.parametrize("case", CYCLIC)
def test_cyclic_lr(case):
    assert_same_cycle("CyclicLR", "cyclic_lr", {"base_lr": 0.01, "max_lr": 0.5} | CYCLIC[case])


@pytest.mark.parametrize("case", ONE_CYCLE)
def test_one_cycle_lr(case):
    options = {"max_lr": 0.5, "total_steps": COUNTS} | ONE_CYCLE[case]
    assert_same_cycle("OneCycleLR", "one_cycle_lr", options)


def assert_same_cycle(torch_name, name, options):
    expected = torch_options(
        lambda optimizer: getattr(lr_scheduler, torch_name)(optimizer, **options)
    )
    cycle = getattr(schedules, name)(**options)
    for ours, theirs in zip([rates(cycle), rates(cycle.momentum)], expected, strict=True):
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=tolerances.SCHEDULE_F64 * theirs.max()
        )


def test_one_cycle_by_epochs():
    cycle = schedules.one_cycle_lr(0.5, epochs=20, steps_per_epoch=30)
    np.testing.assert_array_equal(rates(cycle), rates(schedules.one_cycle_lr(0.5, total_steps=600)))
    assert np.isnan(cycle(601))
