"""A scheduler moved in mid-run: torch's goes on from our count, ours from torch's plateau."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs
from torch.optim.swa_utils import SWALR

from jaxgd.interop.torch import plateau_from_torch, to_torch_scheduler_state_dict
from jaxgd.optim import schedules as ours
from tests import tolerances

LR, END = 0.3, 120
MOVES = [0, 1, 39, 40, 41, 77]

pytestmark = pytest.mark.usefixtures("x64")

PAIRS = {
    "step": (lambda o: theirs.StepLR(o, 30), ours.step_lr(LR, 30)),
    "cosine": (lambda o: theirs.CosineAnnealingLR(o, 50), ours.cosine_annealing_lr(LR, 50)),
    "linear": (lambda o: theirs.LinearLR(o, 0.2, 1.0, 60), ours.linear_lr(LR, 0.2, 1.0, 60)),
    "restarts": (
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 7, 2),
        ours.cosine_annealing_warm_restarts(LR, 7, 2),
    ),
    "one cycle": (
        lambda o: theirs.OneCycleLR(o, 25 * LR, END + 1),
        ours.one_cycle_lr(25 * LR, END + 1),
    ),
    "sequence": (
        lambda o: theirs.SequentialLR(
            o, [theirs.LinearLR(o, 0.1, total_iters=40), theirs.StepLR(o, 9)], [40]
        ),
        ours.sequential_lr([ours.linear_lr(LR, 0.1, total_iters=40), ours.step_lr(LR, 9)], [40]),
    ),
    "averaging at the end": (
        lambda o: theirs.SequentialLR(o, [theirs.ExponentialLR(o, 0.9), SWALR(o, 0.05)], [40]),
        ours.sequential_lr([ours.exponential_lr(LR, 0.9), ours.swa_lr(LR, 0.05)], [40]),
    ),
    "chain": (
        lambda o: theirs.ChainedScheduler(
            [theirs.ConstantLR(o, 0.1, 20), theirs.ExponentialLR(o, 0.99)]
        ),
        ours.chained_scheduler(
            [ours.constant_lr(LR, 0.1, 20), ours.exponential_lr(LR, 0.99)], total_steps=END
        ),
    ),
}


CYCLIC = {"base_lr": 0.05, "max_lr": LR, "step_size_up": 9, "step_size_down": 4}
PAIRS |= {
    "cycle": (lambda o: theirs.CyclicLR(o, **CYCLIC), ours.cyclic_lr(**CYCLIC)),
    "fading cycle": (
        lambda o: theirs.CyclicLR(o, **CYCLIC, mode="triangular2"),
        ours.cyclic_lr(**CYCLIC, mode="triangular2"),
    ),
    "restarts in a sequence": (
        lambda o: theirs.SequentialLR(
            o,
            [
                theirs.LinearLR(o, 0.1, total_iters=40),
                theirs.CosineAnnealingWarmRestarts(o, 7, 2),
            ],
            [40],
        ),
        ours.sequential_lr(
            [
                ours.linear_lr(LR, 0.1, total_iters=40),
                ours.cosine_annealing_warm_restarts(LR, 7, 2),
            ],
            [40],
        ),
    ),
    "one cycle in a sequence": (
        lambda o: theirs.SequentialLR(
            o, [theirs.ExponentialLR(o, 0.95), theirs.OneCycleLR(o, 25 * LR, END)], [40]
        ),
        ours.sequential_lr([ours.exponential_lr(LR, 0.95), ours.one_cycle_lr(25 * LR, END)], [40]),
    ),
    "one cycle in a chain": (
        lambda o: theirs.ChainedScheduler(
            [theirs.OneCycleLR(o, 25 * LR, END + 1), theirs.StepLR(o, 30)]
        ),
        ours.chained_scheduler(
            [ours.one_cycle_lr(25 * LR, END + 1), ours.step_lr(LR, 30)], total_steps=END
        ),
    ),
}


def fresh(build):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR, momentum=0.9)
    return optimizer, build(optimizer)


def rates(optimizer, scheduler, updates, values=None):
    used = []
    for t in range(updates):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(() if values is None else (values[t],)))
    return np.array(used)


@pytest.mark.parametrize("name", PAIRS)
def test_torchs_scheduler_goes_on_from_our_count(name):
    build, schedule = PAIRS[name]
    expected = rates(*fresh(build), END)
    for count in MOVES:
        optimizer, scheduler = fresh(build)
        state_dict = to_torch_scheduler_state_dict(scheduler, schedule, count)
        scheduler.load_state_dict(state_dict)
        optimizer.param_groups[0]["lr"] = float(schedule(count))
        actual = rates(optimizer, scheduler, END - count)
        np.testing.assert_allclose(
            actual, expected[count:], rtol=0, atol=tolerances.SCHEDULE_COMPOSED_F64 * LR
        )


VALUES = 1 / (1 + np.arange(END) / 9) + 0.05 * np.random.default_rng(0).normal(size=END)
PLATEAU = {"patience": 2, "factor": 0.7, "cooldown": 3}


def ours_on_plateau(state, values):
    schedule = ours.reduce_lr_on_plateau(LR, **PLATEAU)
    used = []
    for value in jnp.asarray(values):
        used.append(float(schedule(state)))
        state = schedule.update(state, value=value)
    return used, state


@pytest.mark.parametrize("move", [0, 37, 64])
def test_a_plateau_goes_on_both_ways(move):
    def build(optimizer):
        return theirs.ReduceLROnPlateau(optimizer, **PLATEAU)

    expected = rates(*fresh(build), END, VALUES)
    assert np.unique(expected[move:]).size > 3

    optimizer, scheduler = fresh(build)
    rates(optimizer, scheduler, move, VALUES)
    state = plateau_from_torch(scheduler, optimizer.param_groups[0]["lr"])
    np.testing.assert_array_equal(ours_on_plateau(state, VALUES[move:])[0], expected[move:])

    begun = ours.reduce_lr_on_plateau(LR, **PLATEAU).init()
    used, state = ours_on_plateau(begun, VALUES[:move])
    np.testing.assert_array_equal(used, expected[:move])
    optimizer, scheduler = fresh(build)
    scheduler.load_state_dict(to_torch_scheduler_state_dict(scheduler, state, move))
    optimizer.param_groups[0]["lr"] = float(state.lr)
    np.testing.assert_array_equal(
        rates(optimizer, scheduler, END - move, VALUES[move:]), expected[move:]
    )


def test_what_is_refused():
    _, scheduler = fresh(PAIRS["step"][0])
    with pytest.raises(ValueError, match="scheduler must be a ReduceLROnPlateau; got one without"):
        plateau_from_torch(scheduler, LR)
    with pytest.raises(ValueError, match="count must be at least 0; got -1"):
        to_torch_scheduler_state_dict(scheduler, PAIRS["step"][1], -1)
