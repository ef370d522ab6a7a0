"""A fault in what moves across is caught: a stale buffer, a shifted step, a weight not turned."""

import copy

import numpy as np
import pytest
import torch

from jaxgd.interop.torch import from_torch
from tests.interop.torch.runs import MOVE
from tests.interop.torch.test_continuation import SETTINGS, begin, end, moved, off, uninterrupted

pytestmark = pytest.mark.usefixtures("x64")

# What has no part in a later update: LBFGS makes these anew, unless it refuses a curvature pair;
# NAdam's product has fallen to 1e-22.
UNUSED = {"lbfgs": {"al", "H_diag", "prev_loss"}, "nadam": {"mu_product"}}


def is_caught(setting, state_dict, turn=lambda params: params):
    """Whether that state is refused, or leads our run elsewhere than torch's."""
    params = turn(moved(setting)[2])
    try:
        _, state = from_torch(state_dict, params, name=SETTINGS[setting][0])
    except ValueError:
        return True
    return off(setting, end(setting, params, state), uninterrupted(setting)) != {}


def faults(state_dict):
    """The state_dict with one number, or one buffer, of the first two parameters off."""
    for i in (0, 1):
        for key, value in state_dict["state"].get(i, {}).items():
            for what, wrong in wrong_values(key, value):
                faulty = copy.deepcopy(state_dict)
                # Torch's counters are one for all parameters here; else there would be parts.
                for other in faulty["state"] if key in ("step", "mu_product") else [i]:
                    faulty["state"][other][key] = wrong
                yield f"{i}.{key} {what}", key, faulty


def wrong_values(key, value):
    if isinstance(value, list):
        yield "doubled in the newest pair", [*value[:-1], 2 * value[-1]]
    elif isinstance(value, int) or key == "step":
        yield "shifted", value + 1
    elif key == "mu":  # ASGD's, which is made of the step; it is compared at the end
        return
    elif key == "max_exp_avg_sq":  # which the next gradients may exceed
        yield "doubled", 2 * value
    elif key == "prev":  # of which only the sign is used
        yield "forgotten", torch.zeros_like(value)
    else:
        yield "a millionth off", value * (1 + 1e-6)
        if np.ndim(value) == 2 and value.shape[0] == value.shape[1]:
            yield "not turned", value.T


@pytest.mark.halved
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_number_of_the_state_is_felt(setting):
    state_dict = begin(setting).run(0, MOVE).optimizer.state_dict()
    assert not is_caught(setting, state_dict)
    felt = {
        fault: is_caught(setting, faulty)
        for fault, key, faulty in faults(state_dict)
        if key not in UNUSED.get(setting, set())
    }
    assert [fault for fault, caught in felt.items() if not caught] == []
    assert felt or setting == "sgd, plain"


@pytest.mark.parametrize("setting", ["adam", "adafactor", "lbfgs", "sgd, plain"])
def test_a_weight_that_is_not_turned_is_felt(setting):
    state_dict = begin(setting).run(0, MOVE).optimizer.state_dict()

    def turned(params):
        return (params[0]._replace(w=params[0].w.T), *params[1:])

    assert is_caught(setting, state_dict, turned)
