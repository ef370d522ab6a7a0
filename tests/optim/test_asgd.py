"""ASGD's averaged iterate, which no parameter shows, against torch's at every update."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from tests import tolerances
from tests.optim.cases import schedule_factor
from tests.optim.test_canaries import stale

UPDATES = 120
RNG = np.random.default_rng(0)
START, GRADIENTS = RNG.normal(size=5), RNG.normal(size=(UPDATES, 5))


def averages_of_torch(dtype, scheduled, **options):
    param = torch.nn.Parameter(torch.tensor(START, dtype=dtype))
    optimizer = torch.optim.ASGD([param], lr=0.1, **options)
    factor = schedule_factor if scheduled else (lambda count: 1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    trajectory = []
    for gradient in GRADIENTS:
        param.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        scheduler.step()
        trajectory.append(optimizer.state[param]["ax"].numpy().copy())
    return np.stack(trajectory)


def averages(dtype, scheduled, build=optim.asgd, **options):
    lr = (lambda count: 0.1 * schedule_factor(count.astype(float))) if scheduled else 0.1
    optimizer = build(lr=lr, **options)

    def update(carry, gradient):
        param, state = carry
        updates, state = optimizer.update(gradient, state, param)
        return (optax.apply_updates(param, updates), state), optax.tree.get(state, "ax")

    start = jnp.asarray(START, dtype)
    return jax.lax.scan(update, (start, optimizer.init(start)), jnp.asarray(GRADIENTS, dtype))[1]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("options", [{}, {"t0": 0}, {"t0": 40, "lambd": 0.1, "alpha": 1.2}])
def test_the_averaged_iterate(options, scheduled, dtype):
    expected = averages_of_torch(getattr(torch, dtype.name), scheduled, **options)
    error = np.abs(averages(dtype, scheduled, **options) - expected).max() / np.abs(expected).max()
    assert error < (tolerances.PARITY_F64 if dtype == "float64" else tolerances.OPTIM_F32)


@pytest.mark.usefixtures("x64")
def test_a_canary_of_a_stale_average():
    """An average that misses every tenth update is felt."""
    expected = averages_of_torch(torch.float64, False, t0=40)
    ours = averages("float64", False, lambda **given: stale(optim.asgd(**given), "ax"), t0=40)
    assert np.abs(ours - expected).max() > 1e-3


@pytest.mark.usefixtures("x64")
def test_a_canary_of_one_update():
    """Averaging that begins one update late is felt."""
    expected = averages_of_torch(torch.float64, False, t0=40)
    assert np.abs(averages("float64", False, t0=41) - expected).max() > 1e-3


@pytest.mark.usefixtures("x64")
def test_a_canary_of_eta_in_double():
    """torch's eta is rounded to float32; eta in full double is 1e-8 away."""
    expected = averages_of_torch(torch.float64, False, lambd=0.1)
    module = importlib.import_module("jaxgd.optim.asgd_rule")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_in_float32", lambda scalar: scalar)
        assert np.abs(averages("float64", False, lambd=0.1) - expected).max() > 1e-10
