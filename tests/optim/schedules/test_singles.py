"""Every single scheduler of torch's, at every count."""

import functools

import jax
import jax.numpy as jnp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler, swa_utils

from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.drawn import CYCLES, OURS, SINGLES
from tests.optim.schedules.rates import (
    COUNTS,
    LR,
    assert_close,
    assert_same_rates,
    rates,
    tolerance_of,
    torch_options,
)

pytestmark = [pytest.mark.usefixtures("x64", "quick_compile")]


def warm_then_decay(count):
    """What people write in torch: Python branches, no JAX."""
    return (count + 1) / 10 if count < 10 else 0.99 ** (count - 10)


SINGLE = {
    "lambda": ("LambdaLR", "lambda_lr", {"lr_lambda": lambda c: 0.97**c}),
    "lambda of an int": ("LambdaLR", "lambda_lr", {"lr_lambda": warm_then_decay}),
    "multiplicative": (
        "MultiplicativeLR",
        "multiplicative_lr",
        {"lr_lambda": lambda c: 0.9 + 0.2 / (c + 1)},
    ),
    "step": ("StepLR", "step_lr", {"step_size": 30}),
    "step of one": ("StepLR", "step_lr", {"step_size": 1, "gamma": 0.98}),
    "multi step": ("MultiStepLR", "multi_step_lr", {"milestones": [30, 80, 80, 400], "gamma": 0.3}),
    "multi step at once": ("MultiStepLR", "multi_step_lr", {"milestones": [200, 0, -5]}),
    "constant": ("ConstantLR", "constant_lr", {}),
    "constant for ever": ("ConstantLR", "constant_lr", {"factor": 0.2, "total_iters": 0}),
    "linear": ("LinearLR", "linear_lr", {}),
    "linear down": (
        "LinearLR",
        "linear_lr",
        {"start_factor": 0.9, "end_factor": 0.0, "total_iters": 450},
    ),
    "linear for ever": ("LinearLR", "linear_lr", {"total_iters": 0}),
    "exponential": ("ExponentialLR", "exponential_lr", {"gamma": 0.99}),
    "polynomial": ("PolynomialLR", "polynomial_lr", {}),
    "polynomial square": ("PolynomialLR", "polynomial_lr", {"total_iters": 470, "power": 2.0}),
    "polynomial root": ("PolynomialLR", "polynomial_lr", {"total_iters": 130, "power": 0.5}),
    "polynomial of none": ("PolynomialLR", "polynomial_lr", {"total_iters": 0}),
    "cosine": ("CosineAnnealingLR", "cosine_annealing_lr", {"T_max": 600}),
    "cosine beyond T_max": (
        "CosineAnnealingLR",
        "cosine_annealing_lr",
        {"T_max": 70, "eta_min": 0.01},
    ),
    "cosine of one": ("CosineAnnealingLR", "cosine_annealing_lr", {"T_max": 1}),
    "restarts": ("CosineAnnealingWarmRestarts", "cosine_annealing_warm_restarts", {"T_0": 11}),
    "longer restarts": (
        "CosineAnnealingWarmRestarts",
        "cosine_annealing_warm_restarts",
        {"T_0": 7, "T_mult": 2, "eta_min": 0.02},
    ),
}
NEEDS_LENGTH = {"lambda of an int", "multiplicative"}


@pytest.mark.parametrize("case", SINGLE)
def test_a_single_schedule(case):
    torch_name, name, options = SINGLE[case]
    length = {"total_steps": COUNTS} if case in NEEDS_LENGTH else {}
    assert_same_rates(
        lambda optimizer: getattr(lr_scheduler, torch_name)(optimizer, **options),
        getattr(schedules, name)(LR, **options, **length),
        tolerance_of(torch_name),
    )


@pytest.mark.parametrize("options", [{}, {"anneal_strategy": "linear"}, {"anneal_epochs": 0}])
def test_the_rate_of_averaging(options):
    assert_same_rates(
        lambda optimizer: swa_utils.SWALR(optimizer, 0.05, **options),
        schedules.swa_lr(LR, 0.05, **options),
    )


def test_a_canary_of_one_count():
    """The gate sees a schedule that is one update early."""
    expected = torch_options(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.999999))[0]
    early = rates(lambda count: schedules.exponential_lr(LR, 0.999999)(count + 1))
    with pytest.raises(AssertionError):
        assert_close(early, expected, tolerances.SCHEDULE_F64)


@pytest.mark.parametrize(("T_max", "eta_min"), [(334, 0.5), (70, 0.01), (1, 0.0)])
def test_cosine_annealing_is_torch_s_own_closed_form(T_max, eta_min):
    """Closer than torch's recursion, which drifts each time it passes T_max."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max, eta_min)
    expected = []
    for scheduler.last_epoch in range(COUNTS):
        expected += scheduler._get_closed_form_lr()
    ours = rates(schedules.cosine_annealing_lr(LR, T_max, eta_min))
    assert_close(ours, expected, tolerances.SCHEDULE_CLOSED_FORM_F64)


@pytest.mark.parametrize("torch_name", SINGLES | CYCLES)
def test_drawn_options(torch_name):
    options = (SINGLES | CYCLES)[torch_name]
    base = {} if torch_name in CYCLES else {"lr": LR}

    @settings(max_examples=8, deadline=None)
    @given(st.fixed_dictionaries(options))
    def compare(options):
        schedule = getattr(schedules, OURS[torch_name])(**base, **options)
        build = functools.partial(getattr(lr_scheduler, torch_name), **options)
        ours = jax.vmap(schedule)(jnp.arange(COUNTS))
        assert_close(ours, torch_options(build)[0], tolerance_of(torch_name))

    compare()
