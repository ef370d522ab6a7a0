"""PyTorch's own table of optimizer configurations and of bad ones, on both sides."""

import jax.numpy as jnp
import pytest
import torch
from torch.testing._internal.common_optimizers import optim_db

from jaxgd import optim
from jaxgd.optim.registry import REGISTRY
from tests.optim import problems
from tests.optim.cases import OPTIMIZERS, Case, torch_class
from tests.optim.gate import errors_over_bound
from tests.optim.trajectories import run_jax

# Those too that are compared along runs of their own.
ALL = {name: torch_class(name) for name in REGISTRY}
INFOS = {name: info for name in OPTIMIZERS for info in optim_db if info.optim_cls is ALL[name]}

# They choose a kernel of torch's, and no number.
KERNELS = {"foreach", "fused", "differentiable", "capturable"}


def in_jax(options):
    """Torch's options with JAX scalars for its tensors."""
    return {
        name: jnp.asarray(value.numpy()) if isinstance(value, torch.Tensor) else value
        for name, value in options.items()
    }


def in_torch(optimizer, options):
    """Torch's options; SparseAdam would round its step size to the float32 of a tensor lr."""
    if optimizer == "sparse_adam" and isinstance(options.get("lr"), torch.Tensor):
        return options | {"lr": options["lr"].item()}
    return options


@pytest.mark.parametrize("optimizer", INFOS)
def test_every_configuration_equals_torch(optimizer):
    inputs = INFOS[optimizer].optim_inputs_func(device="cpu")
    cases = [Case(optimizer, in_torch(optimizer, entry.kwargs)) for entry in inputs]
    transforms = [optim.by_name(optimizer)(**in_jax(case.options)) for case in cases]
    runs = run_jax(cases, transforms, "float64", problems.gradients("float64"))
    over = {
        entry.desc: errors
        for entry, case, run in zip(inputs, cases, runs, strict=True)
        if (errors := errors_over_bound(case, run, "float64"))
    }
    assert over == {}
    assert len(inputs) >= 4


@pytest.mark.parametrize("optimizer", [name for name in ALL if name not in INFOS])
def test_every_configuration_of_the_others_is_accepted(optimizer):
    """Those that are compared along runs of their own: the options, kernels aside, make a state."""
    (info,) = (info for info in optim_db if info.optim_cls is ALL[optimizer])
    inputs = info.optim_inputs_func(device="cpu")
    for entry in inputs:
        options = {name: value for name, value in entry.kwargs.items() if name not in KERNELS}
        optim.by_name(optimizer)(**in_jax(options)).init({"w": jnp.ones((2, 2))})
    assert len(inputs) >= 4


def bad_options():
    """Each of the table's errors that is about an option we have, rather than the parameters."""
    for name, cls in ALL.items():
        (info,) = (info for info in optim_db if info.optim_cls is cls)
        for error in info.optim_error_inputs_func(device="cpu", dtype=torch.float64):
            entry = error.optimizer_error_input
            if entry.kwargs and not KERNELS & set(entry.kwargs):
                yield pytest.param(name, error, id=f"{name}: {entry.desc}")


@pytest.mark.parametrize(("optimizer", "error"), list(bad_options()))
def test_every_bad_option_is_refused_by_both(optimizer, error):
    options = error.optimizer_error_input.kwargs
    with pytest.raises(error.error_type, match=error.error_regex):
        ALL[optimizer]([torch.zeros(2, 2, requires_grad=True)], **options)
    with pytest.raises((ValueError, TypeError)):
        optim.by_name(optimizer)(**options)
