"""Groups, parameters that were not always trained, and schedules move across too."""

import jax
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from jaxgd.interop.torch import from_torch, params_from_torch, params_to_torch, to_torch_state_dict
from tests.interop.torch.runs import BATCHES, END, MOVE, NETWORK, Training, descent, errors, numbers
from tests.optim.cases import schedule_factor, torch_class

pytestmark = [pytest.mark.optax_promotion, pytest.mark.usefixtures("x64")]

GROUPED = {
    "adam": {"amsgrad": True},
    "asgd": {"t0": 20.0},
    "nadam": {},
    "sgd": {"momentum": 0.9, "dampening": 0.5},
}


def grouped(name):
    """Weights, and with other options biases: an order that is not the module's."""
    module = NETWORK.module()
    named = list(module.named_parameters())
    weights, biases = ([p for p in named if p[0].endswith(end)] for end in ("weight", "bias"))
    groups = [
        {"params": weights, "lr": 0.02, "weight_decay": 0.1},
        {"params": biases, "lr": 0.05},
    ]
    return Training(NETWORK, module, torch_class(name)(groups, **GROUPED[name]))


def continued(training, params, optimizer, state):
    """Torch's numbers after 100 updates of ours."""
    params, state = descent(NETWORK, optimizer)(params, state, BATCHES[MOVE:END])
    state_dict = to_torch_state_dict(state, params, training.optimizer)
    return numbers(params_to_torch(params, training.module), state_dict)


@pytest.mark.parametrize("name", GROUPED)
def test_groups_become_a_partition(name):
    training = grouped(name).run(0, MOVE)
    params = params_from_torch(training.module)
    optimizer, state = from_torch(training.optimizer, params)
    assert isinstance(state, optax.PartitionState)
    actual = continued(training, params, optimizer, state)
    assert errors(actual, training.run(MOVE, END).numbers()) == {}


def test_a_state_dict_with_names_is_the_optimizer():
    training = grouped("adam").run(0, MOVE)
    params = params_from_torch(training.module)
    state_dict = training.optimizer.state_dict()
    for group in state_dict["param_groups"]:
        del group["param_names"]
    names = ["0.weight", "2.weight", "0.bias", "2.bias"]
    _, state = from_torch(state_dict, params, name="adam", param_names=names)
    _, expected = from_torch(training.optimizer, params)
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_groups_swapped_are_caught():
    """The gate sees the options of one group on the other's parameters."""
    training = grouped("adam").run(0, MOVE)
    params = params_from_torch(training.module)
    optimizer, state = from_torch(training.optimizer, params, lr=[0.05, 0.02])
    actual = continued(training, params, optimizer, state)
    assert errors(actual, training.run(MOVE, END).numbers()) != {}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_parameter_that_began_later_keeps_its_own_count(name):
    module = NETWORK.module()
    optimizer = torch_class(name)(module.named_parameters(), lr=0.01, **GROUPED[name])
    training = Training(NETWORK, module, optimizer)
    module[0].weight.requires_grad = False
    training.run(0, 30)
    before = numbers(module.state_dict(), optimizer.state_dict())
    params = params_from_torch(module)
    ours = from_torch(optimizer, params)
    run = descent(NETWORK, ours[0])

    frozen, state = run(params, ours[1], BATCHES[30:60])
    np.testing.assert_array_equal(frozen[0].w, params[0].w)
    actual = numbers(params_to_torch(frozen, module), to_torch_state_dict(state, frozen, optimizer))
    training.run(30, 60)
    assert errors(actual, training.numbers()) == {}
    assert errors(actual, before) != {}

    module[0].weight.requires_grad = True
    training.run(60, MOVE)
    params = params_from_torch(module)
    actual = continued(training, params, *from_torch(optimizer, params))
    assert errors(actual, training.run(MOVE, END).numbers()) == {}


def test_a_parameter_frozen_on_the_way_keeps_its_buffers():
    module = NETWORK.module()
    optimizer = torch_class("adam")(module.named_parameters(), lr=0.01)
    training = Training(NETWORK, module, optimizer).run(0, 30)
    module[0].weight.requires_grad = False
    training.run(30, MOVE)
    params = params_from_torch(module)
    actual = continued(training, params, *from_torch(optimizer, params))
    assert errors(actual, training.run(MOVE, END).numbers()) == {}


SCHEDULED = {"adafactor": {}, "adam": {}, "asgd": {"lambd": 0.1}, "sgd": {"momentum": 0.9}}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_goes_on(name):
    module = NETWORK.module()
    optimizer = torch_class(name)(module.named_parameters(), lr=0.05, **SCHEDULED[name])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule_factor)
    training = Training(NETWORK, module, optimizer, scheduler.step).run(0, MOVE)

    schedule = optim.schedules.lambda_lr(0.05, schedule_factor)
    step = scheduler.last_epoch if name == "sgd" else None
    params = params_from_torch(module)
    ours, state = from_torch(optimizer, params, lr=schedule, step=step)
    params, state = descent(NETWORK, ours)(params, state, BATCHES[MOVE:END])
    state_dict = to_torch_state_dict(state, params, optimizer, lr=schedule)
    actual = numbers(params_to_torch(params, module), state_dict)

    training.run(MOVE, END)
    assert errors(actual, training.numbers()) == {}
    np.testing.assert_allclose(
        state_dict["param_groups"][0]["lr"], optimizer.param_groups[0]["lr"], rtol=1e-15
    )
