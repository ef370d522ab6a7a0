"""States in optax's wrappers, and modules in torch's, move across without being told."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from jaxgd.interop.torch import from_torch, params_from_torch, params_to_torch, to_torch_state_dict
from tests.interop.torch.runs import BATCHES, END, MOVE, NETWORK, Training, descent, errors, numbers

pytestmark = [pytest.mark.optax_promotion, pytest.mark.usefixtures("x64")]

OPTIONS = {"lr": 0.01, "betas": (0.8, 0.99)}


def adam(lr=0.01):
    return optim.adam(**OPTIONS | {"lr": lr})


def everything(params):
    return jax.tree.map(lambda _: True, params)


WRAPPERS = {
    "inject_hyperparams": lambda: optax.inject_hyperparams(adam)(lr=0.01),
    "apply_if_finite": lambda: optax.apply_if_finite(adam(), 9),
    "MultiSteps": lambda: optax.MultiSteps(adam(), 1).gradient_transformation(),
    "masked": lambda: optax.masked(adam(), everything),
    "partition": lambda: optax.partition({True: adam()}, everything),
    "split": lambda: optax.contrib.split_real_and_imaginary(adam()),
    "with_loss_scale": lambda: optim.with_loss_scale(adam(), init_scale=1.0),
    "in a chain": lambda: optax.chain(optim.clip_grad_norm(1e9), optax.masked(adam(), everything)),
}


def fresh():
    module = NETWORK.module()
    return Training(NETWORK, module, torch.optim.Adam(module.named_parameters(), **OPTIONS))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_state_is_torchs(wrapper):
    training = fresh()
    optimizer, params = WRAPPERS[wrapper](), params_from_torch(training.module)
    params, state = descent(NETWORK, optimizer)(params, optimizer.init(params), BATCHES[:9])
    state_dict = to_torch_state_dict(state, params, training.optimizer)
    actual = numbers(params_to_torch(params, training.module), state_dict)
    assert errors(actual, training.run(0, 9).numbers()) == {}


def test_gradients_that_made_no_update_are_refused():
    training = fresh()
    params = params_from_torch(training.module)
    tx = optax.MultiSteps(adam(), 2)
    _, state = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    with pytest.raises(ValueError, match="between two updates; got 1 gradients in MultiSteps"):
        to_torch_state_dict(state, params, training.optimizer)


def test_complex_parameters_come_as_torchs_complex_buffers():
    start = np.array([1 + 2j, -0.5 + 1j])
    param = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([("w", param)], **OPTIONS)
    ours = optax.contrib.split_real_and_imaginary(adam())
    params = {"w": jnp.asarray(start)}
    state = ours.init(params)
    for factor in (1.0, -0.3, 0.7):
        param.grad = torch.tensor(start * factor)
        optimizer.step()
        updates, state = ours.update({"w": jnp.asarray(start) * factor}, state, params)
        params = optax.apply_updates(params, updates)
    actual = to_torch_state_dict(state, params, optimizer)["state"][0]
    expected = optimizer.state_dict()["state"][0]
    np.testing.assert_allclose(params["w"], param.detach().numpy(), rtol=1e-14)
    for key, value in expected.items():
        assert actual[key].dtype == value.dtype
        np.testing.assert_allclose(actual[key], value, rtol=1e-14)


class Wrapped(torch.nn.Module):
    """What DistributedDataParallel makes of names, which needs a process group; so with compile."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, Wrapped, torch.compile])
def test_a_wrapped_module_is_the_module(wrap):
    module = NETWORK.module()
    wrapped = wrap(module)
    assert next(iter(wrapped.state_dict())).startswith(("module.", "_orig_mod."))
    params = params_from_torch(wrapped)
    jax.tree.map(np.testing.assert_array_equal, params, params_from_torch(module))
    back = params_to_torch(params, wrapped)
    assert back.keys() == wrapped.state_dict().keys()
    optimizer = torch.optim.Adam(wrapped.named_parameters(), **OPTIONS)
    Training(NETWORK, module, optimizer).run(0, 3)
    _, state = from_torch(optimizer, params_from_torch(module))
    again = to_torch_state_dict(state, params, optimizer)["state"]
    for i, buffers in optimizer.state_dict()["state"].items():
        assert all(torch.equal(again[i][key], value) for key, value in buffers.items())


CYCLED = {
    "sgd": (torch.optim.SGD, {"momentum": 0.5}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.5}),
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.99)}),
}
CYCLES = {
    "OneCycleLR": ("one_cycle_lr", {"max_lr": 0.02, "total_steps": END + 1}),
    "CyclicLR": ("cyclic_lr", {"base_lr": 0.001, "max_lr": 0.02, "step_size_up": 30}),
}


@pytest.mark.parametrize("scheduler", CYCLES)
@pytest.mark.parametrize("optimizer", CYCLED)
def test_a_cycle_takes_its_momentum_along(optimizer, scheduler):
    torch_class, options = CYCLED[optimizer]
    module = NETWORK.module()
    torchs = torch_class(module.named_parameters(), lr=0.02, **options)
    name, cycle_options = CYCLES[scheduler]
    after = getattr(torch.optim.lr_scheduler, scheduler)(torchs, **cycle_options)
    training = Training(NETWORK, module, torchs, after.step).run(0, MOVE)

    cycle = getattr(optim.schedules, name)(**cycle_options)
    params = params_from_torch(module)
    step = after.last_epoch if optimizer == "sgd" else None
    ours, state = from_torch(torchs, params, lr=cycle, step=step)
    params, state = descent(NETWORK, ours)(params, state, BATCHES[MOVE:END])
    state_dict = to_torch_state_dict(state, params, torchs, lr=cycle)
    actual = numbers(params_to_torch(params, module), state_dict)
    training.run(MOVE, END)
    assert errors(actual, training.numbers()) == {}
    for moved in ("lr", "betas" if optimizer == "adam" else "momentum"):
        np.testing.assert_allclose(
            state_dict["param_groups"][0][moved], torchs.param_groups[0][moved], rtol=1e-13
        )


def test_a_cycle_for_an_optimizer_without_momentum_is_refused():
    module = NETWORK.module()
    training = Training(NETWORK, module, torch.optim.Adagrad(module.named_parameters())).run(0, 2)
    cycle = optim.schedules.one_cycle_lr(0.1, 9)
    with pytest.raises(ValueError, match=r"must not cycle one; .* Use cycle_momentum=False"):
        from_torch(training.optimizer, params_from_torch(module), lr=cycle)
