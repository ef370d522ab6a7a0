"""Torch's own argument names and defaults, for every optimizer of torch.optim."""

import inspect

import pytest
import torch

from jaxgd import optim
from jaxgd.optim.names import OPTIMIZERS

# Torch's class of that name, whatever its capitals: Adam, AdamW, SparseAdam, SGD.
TORCH_BY_NAME = {
    name.lower(): cls
    for name, cls in vars(torch.optim).items()
    if inspect.isclass(cls)
    and issubclass(cls, torch.optim.Optimizer)
    and cls is not torch.optim.Optimizer
}

# What is trained, and what chooses a kernel of torch's and no number.
NOT_OURS = {"params", "foreach", "fused", "capturable", "differentiable"}

# The precision of Muon's Newton-Schulz iteration, which torch fixes to bfloat16.
OURS_ALONE = {"ns_dtype"}


def defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_options_and_their_defaults_are_torchs(optimizer):
    torch_defaults = defaults(TORCH_BY_NAME[optimizer.replace("_", "")])
    wanted = {name: value for name, value in torch_defaults.items() if name not in NOT_OURS}
    ours = defaults(optim.by_name(optimizer))
    assert {name: value for name, value in ours.items() if name not in OURS_ALONE} == wanted


def test_no_optimizer_of_torch_is_missing():
    assert {name.replace("_", "") for name in OPTIMIZERS} == set(TORCH_BY_NAME)
