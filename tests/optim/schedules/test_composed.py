"""SequentialLR and ChainedScheduler at every count, recursions and all."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler, swa_utils

from jaxgd.optim import schedules
from tests import tolerances
from tests.optim.schedules.drawn import OURS, SINGLES
from tests.optim.schedules.rates import (
    COUNTS,
    LR,
    assert_close,
    assert_same_rates,
    rates,
    torch_options,
)

pytestmark = [pytest.mark.usefixtures("x64", "quick_compile")]


@pytest.mark.parametrize("milestones", [[5, 300], [40, 40], [1, 2]])
def test_sequential_lr(milestones):
    assert_same_rates(
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
                lr_scheduler.CosineAnnealingLR(optimizer, 100, 0.01),
                lr_scheduler.MultiStepLR(optimizer, [0, 30]),
            ],
            list(milestones),
        ),
        schedules.sequential_lr(
            [
                schedules.linear_lr(LR, 0.1, total_iters=5),
                schedules.cosine_annealing_lr(LR, 100, 0.01),
                schedules.multi_step_lr(LR, [0, 30]),
            ],
            milestones,
        ),
    )


@pytest.mark.parametrize("milestone", [0, 1, 50])
def test_a_multiplicative_schedule_goes_on_from_the_rate_it_finds(milestone):
    assert_same_rates(
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.ExponentialLR(optimizer, 0.97),
                lr_scheduler.MultiplicativeLR(optimizer, lambda c: 0.99),
                lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 9, 2),
            ],
            [milestone, 400],
        ),
        schedules.sequential_lr(
            [
                schedules.exponential_lr(LR, 0.97),
                schedules.multiplicative_lr(LR, lambda c: 0.99, total_steps=COUNTS),
                schedules.cosine_annealing_warm_restarts(LR, 9, 2),
            ],
            [milestone, 400],
        ),
    )


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_the_averaging_rate_starts_from_the_rate_it_finds(strategy):
    assert_same_rates(
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.ExponentialLR(optimizer, 0.99),
                swa_utils.SWALR(optimizer, 0.05, 7, strategy),
            ],
            [80],
        ),
        schedules.sequential_lr(
            [schedules.exponential_lr(LR, 0.99), schedules.swa_lr(LR, 0.05, 7, strategy)], [80]
        ),
    )


def test_chained_scheduler():
    assert_same_rates(
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.ConstantLR(optimizer, 0.1, 20),
                lr_scheduler.ExponentialLR(optimizer, 0.999),
                lr_scheduler.MultiplicativeLR(optimizer, lambda c: 1 - 0.01 / (c + 1)),
                lr_scheduler.MultiStepLR(optimizer, [0, 100], 0.7),
                lr_scheduler.PolynomialLR(optimizer, 500),
            ]
        ),
        schedules.chained_scheduler(
            [
                schedules.constant_lr(LR, 0.1, 20),
                schedules.exponential_lr(LR, 0.999),
                schedules.multiplicative_lr(LR, lambda c: 1 - 0.01 / (c + 1), total_steps=COUNTS),
                schedules.multi_step_lr(LR, [0, 100], 0.7),
                schedules.polynomial_lr(LR, 500),
            ],
            total_steps=COUNTS,
        ),
    )


@pytest.mark.parametrize("eta_min", [0.0, 0.02])
def test_a_chain_of_cosines_and_a_ramp(eta_min):
    """A floor that is not zero and T_max passed: no product of closed forms."""
    assert_same_rates(
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.LinearLR(optimizer, 0.1, total_iters=50),
                lr_scheduler.CosineAnnealingLR(optimizer, 120, eta_min),
                lr_scheduler.StepLR(optimizer, 200, 0.5),
            ]
        ),
        schedules.chained_scheduler(
            [
                schedules.linear_lr(LR, 0.1, total_iters=50),
                schedules.cosine_annealing_lr(LR, 120, eta_min),
                schedules.step_lr(LR, 200, 0.5),
            ],
            total_steps=COUNTS,
        ),
    )


def test_a_chain_with_a_schedule_that_overwrites():
    assert_same_rates(
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.ExponentialLR(optimizer, 0.9),
                lr_scheduler.LambdaLR(optimizer, lambda c: 1 / (c + 1)),
                lr_scheduler.StepLR(optimizer, 3),
            ]
        ),
        schedules.chained_scheduler(
            [
                schedules.exponential_lr(LR, 0.9),
                schedules.lambda_lr(LR, lambda c: 1 / (c + 1)),
                schedules.step_lr(LR, 3),
            ],
            total_steps=COUNTS,
        ),
    )


CYCLIC = {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 20}
ONE_CYCLE = {"max_lr": LR * 25, "total_steps": COUNTS}  # whose initial rate is LR


def composed(build, schedule):
    """The rate and the momentum at every count are torch's."""
    rate, momentum = torch_options(build)
    assert_close(rates(schedule), rate, tolerances.SCHEDULE_COMPOSED_F64)
    assert_close(rates(schedule.momentum), momentum, tolerances.SCHEDULE_F64)


def test_a_cycle_in_a_sequence():
    composed(
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 0.1, total_iters=50),
                lr_scheduler.CyclicLR(optimizer, **CYCLIC),
                lr_scheduler.StepLR(optimizer, 30),
            ],
            [60, 333],
        ),
        schedules.sequential_lr(
            [
                schedules.linear_lr(LR, 0.1, total_iters=50),
                schedules.cyclic_lr(**CYCLIC),
                schedules.step_lr(LR, 30),
            ],
            [60, 333],
        ),
    )


def test_one_cycle_after_a_ramp():
    composed(
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.ExponentialLR(optimizer, 1.01),
                lr_scheduler.OneCycleLR(optimizer, **ONE_CYCLE),
            ],
            [40],
        ),
        schedules.sequential_lr(
            [schedules.exponential_lr(LR, 1.01), schedules.one_cycle_lr(**ONE_CYCLE)], [40]
        ),
    )


def test_a_cycle_in_a_chain():
    composed(
        lambda optimizer: lr_scheduler.ChainedScheduler(
            [lr_scheduler.OneCycleLR(optimizer, **ONE_CYCLE), lr_scheduler.StepLR(optimizer, 90)]
        ),
        schedules.chained_scheduler(
            [schedules.one_cycle_lr(**ONE_CYCLE), schedules.step_lr(LR, 90)], total_steps=COUNTS
        ),
    )


children = st.sampled_from(sorted(SINGLES)).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries(SINGLES[name]))
)


@settings(max_examples=8, deadline=None)
@given(
    drawn=st.lists(children, min_size=1, max_size=3, unique_by=lambda child: child[0]),
    milestones=st.lists(st.integers(0, 500), min_size=2, max_size=2).map(sorted),
    sequential=st.booleans(),
)
def test_drawn_compositions(drawn, milestones, sequential):
    """Any schedules, in any order; no two cosines, whose floors torch divides by each other's."""
    milestones = milestones[: len(drawn) - 1]

    def build(optimizer):
        kids = [getattr(lr_scheduler, name)(optimizer, **options) for name, options in drawn]
        if sequential:
            return lr_scheduler.SequentialLR(optimizer, kids, list(milestones))
        return lr_scheduler.ChainedScheduler(kids)

    kids = [getattr(schedules, OURS[name])(LR, **options) for name, options in drawn]
    if sequential:
        schedule = schedules.sequential_lr(kids, milestones)
    else:
        schedule = schedules.chained_scheduler(kids, total_steps=COUNTS)
    ours = jax.vmap(schedule)(jnp.arange(COUNTS))
    assert_close(ours, torch_options(build)[0], tolerances.SCHEDULE_COMPOSED_F64)
