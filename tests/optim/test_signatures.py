"""Torch's own argument names and defaults, for every optimizer of torch.optim."""

import inspect

import pytest
import torch

from jaxgd import optim
from jaxgd.optim.registry import REGISTRY

# What is trained, and what chooses a kernel of torch's and no number.
NOT_OURS = {"params", "foreach", "fused", "capturable", "differentiable"}


def defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("optimizer", REGISTRY)
def test_the_options_and_their_defaults_are_torchs(optimizer):
    row = REGISTRY[optimizer]
    torch_defaults = defaults(getattr(torch.optim, row.torch_class))
    wanted = {name: value for name, value in torch_defaults.items() if name not in NOT_OURS}
    ours = defaults(optim.by_name(optimizer))
    assert {name: value for name, value in ours.items() if name not in row.ours} == wanted


@pytest.mark.parametrize("optimizer", REGISTRY)
def test_every_option_is_varied(optimizer):
    """Of those that are compared over the recorded gradients: each has a case of its own."""
    row = REGISTRY[optimizer]
    assert not row.varied or set(row.varied) == set(defaults(row.build)) - set(row.ours)


def torchs_own():
    """The names of the classes of torch.optim."""
    return {
        cls.__name__
        for cls in vars(torch.optim).values()
        if inspect.isclass(cls)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
    }


def test_no_class_of_torch_is_without_a_row():
    assert {row.torch_class for row in REGISTRY.values()} == torchs_own()


def test_a_canary_of_a_forgotten_row(monkeypatch):
    monkeypatch.delitem(REGISTRY, "radam")
    assert torchs_own() - {row.torch_class for row in REGISTRY.values()} == {"RAdam"}
