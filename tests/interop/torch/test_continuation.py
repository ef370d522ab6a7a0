"""100 updates of torch and 100 of ours are 200 of torch, and the other way round."""

import copy
import functools

import pytest

from jaxgd.interop.torch import from_torch, params_from_torch, params_to_torch, to_torch_state_dict
from tests import tolerances
from tests.interop.torch.runs import (
    BATCHES,
    CLASSIFIER,
    EMBEDDING,
    END,
    MOVE,
    NETWORK,
    Training,
    descent,
    errors,
    numbers,
)
from tests.optim.cases import OPTIMIZERS, thorough, torch_class

SETTINGS = {name: (name, thorough(name)) for name in OPTIMIZERS} | {
    "adam, decoupled": ("adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    "asgd, averaged": ("asgd", {"t0": 20.0, "lr": 0.1, "lambd": 0.1}),
    "rmsprop, plain": ("rmsprop", {}),
    "sgd, nesterov": ("sgd", {"momentum": 0.9, "nesterov": True, "maximize": True}),
    "sgd, plain": ("sgd", {"weight_decay": 0.1}),
    "nadam, long memory": ("nadam", {"betas": (0.99, 0.999), "momentum_decay": 4.0}),
    "lbfgs": ("lbfgs", {"lr": 0.005, "max_iter": 3, "history_size": 5}),
}
PROBLEMS = {"sparse_adam": EMBEDDING, "lbfgs": CLASSIFIER}
BOUNDS = {"lbfgs": tolerances.CONTINUED_LBFGS_F64}

pytestmark = pytest.mark.usefixtures("x64")


def begin(setting):
    """The training from its first update."""
    name, options = SETTINGS[setting]
    problem = PROBLEMS.get(name, NETWORK)
    module = problem.module()
    return Training(problem, module, torch_class(name)(module.named_parameters(), **options))


@functools.cache
def moved(setting):
    """Our compiled training, made of torch's after 100 updates, with its params and state."""
    torchs = begin(setting).run(0, MOVE)
    params = params_from_torch(torchs.module)
    optimizer, state = from_torch(torchs.optimizer, params)
    return descent(torchs.problem, optimizer), optimizer, params, state


def end(setting, params, state):
    """The numbers where 100 updates of ours lead, as torch would have them."""
    params, state = moved(setting)[0](params, state, BATCHES[MOVE:END])
    torchs = begin(setting)
    state_dict = to_torch_state_dict(state, params, torchs.optimizer)
    return numbers(params_to_torch(params, torchs.module), state_dict)


def off(setting, actual, expected):
    return errors(actual, expected, BOUNDS.get(setting, tolerances.PARITY_F64))


@functools.cache
def uninterrupted(setting):
    return begin(setting).run(0, END).numbers()


@pytest.mark.parametrize("setting", SETTINGS)
def test_ours_after_torchs(setting):
    _, _, params, state = moved(setting)
    assert off(setting, end(setting, params, state), uninterrupted(setting)) == {}


@pytest.mark.parametrize("setting", SETTINGS)
def test_torchs_after_ours(setting):
    """Torch's own save and load is the yardstick: it changes the dtype of NAdam's product."""
    saved = begin(setting).run(0, MOVE)
    expected = load(setting, saved.module.state_dict(), saved.optimizer.state_dict())

    run, optimizer, _, _ = moved(setting)
    fresh = begin(setting)
    start = params_from_torch(fresh.module)
    params, state = run(start, optimizer.init(start), BATCHES[:MOVE])
    actual = load(
        setting,
        params_to_torch(params, fresh.module),
        to_torch_state_dict(state, params, fresh.optimizer),
    )
    ours, torchs = (training.run(MOVE, END).numbers() for training in (actual, expected))
    assert off(setting, ours, torchs) == {}


def test_nadam_after_a_load_of_torchs():
    """Its product has then the dtype of the parameters, and keeps it here."""
    setting = "nadam, long memory"
    saved = begin(setting).run(0, MOVE // 2)
    torchs = load(setting, saved.module.state_dict(), saved.optimizer.state_dict())
    torchs.run(MOVE // 2, MOVE)
    params = params_from_torch(torchs.module)
    _, state = from_torch(torchs.optimizer, params)
    assert errors(end(setting, params, state), torchs.run(MOVE, END).numbers()) == {}
    assert errors(torchs.numbers(), uninterrupted(setting)) != {}


def load(setting, parameters, state_dict):
    """The training that goes on from saved parameters and a saved state."""
    training = begin(setting)
    training.module.load_state_dict(parameters)
    training.optimizer.load_state_dict(copy.deepcopy(state_dict))
    return training
