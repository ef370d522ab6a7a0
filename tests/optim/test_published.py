"""Lion and schedule-free training: their formulas, and their own packages where installed."""

import importlib
import importlib.util
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxgd import optim
from jaxgd.optim.registry import PUBLISHED
from tests import tolerances
from tests.optim import published

RNG = np.random.default_rng(0)
UPDATES = 60
START, GRADIENTS = RNG.normal(size=5), RNG.normal(size=(UPDATES, 5))

pytestmark = pytest.mark.usefixtures("x64")


def cases():
    for name, row in PUBLISHED.items():
        for options in [{}, *({key: value} for key, value in row.varied.items()), row.varied]:
            yield pytest.param(name, dict(options), id=f"{name}({', '.join(options)})")


def in_jax(name, options):
    tx = optim.by_name(name)(**options)

    def update(carry, gradient):
        params, state = carry
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jnp.asarray(START)
    return jax.lax.scan(update, (params, tx.init(params)), jnp.asarray(GRADIENTS))


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.PARITY_F64)


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_the_formula(name, options):
    formula = getattr(published, name)
    expected = [list(formula(y, g, **options)) for y, g in zip(START, GRADIENTS.T, strict=True)]
    assert_same(in_jax(name, options)[1], np.transpose(expected))


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_the_package(name, options):
    row = PUBLISHED[name]
    cls = getattr(pytest.importorskip(row.package), row.cls)
    param = torch.nn.Parameter(torch.tensor(START))
    optimizer = cls([param], **options)
    if "schedule_free" in name:
        optimizer.train()
    expected = []
    for gradient in GRADIENTS:
        param.grad = torch.tensor(gradient)
        optimizer.step()
        expected.append(param.detach().numpy().copy())
    (params, state), ours = in_jax(name, options)
    assert_same(ours, expected)
    if "schedule_free" in name:
        momentum = options.get("momentum", options.get("betas", (0.9,))[0])
        optimizer.eval()
        averaged = optim.averaged_params(params, state, momentum)
        assert_same(averaged, param.detach().numpy())


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_option_is_varied(name):
    parameters = inspect.signature(optim.by_name(name)).parameters
    assert set(PUBLISHED[name].varied) == set(parameters)
    row = PUBLISHED[name]
    if importlib.util.find_spec(row.package):
        cls = getattr(importlib.import_module(row.package), row.cls)
        theirs = inspect.signature(cls).parameters
        defaults = {option: each.default for option, each in parameters.items()}
        assert defaults == {option: theirs[option].default for option in parameters}


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_optax_is_the_same_without_warm_up(name):
    """And with it another training: it begins with a rate of 0."""
    plain = {"lr": 0.01, "weight_decay": 0.1}
    theirs = getattr(optax.contrib, name)

    def run(warmup_steps):
        tx, params = theirs(0.01, warmup_steps, weight_decay=0.1), jnp.asarray(START)
        state = tx.init(params)
        for gradient in jnp.asarray(GRADIENTS[:9]):
            updates, state = jax.jit(tx.update)(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    with jax.numpy_dtype_promotion("standard"):
        assert_same(run(None), in_jax(name, plain)[1][8])
        apart = np.abs(run(5) - in_jax(name, plain | {"warmup_steps": 5})[1][8]).max()
    assert apart > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lion", {"betas": (1.0, 0.9)}, r"betas\[0\] must be in \[0, 1\)"),
        ("schedule_free_sgd", {"momentum": 0.0}, r"momentum must be in \(0, 1\); got momentum=0"),
        ("schedule_free_adamw", {"betas": (0.0, 0.9)}, r"betas\[0\] must be in \(0, 1\)"),
        ("schedule_free_adamw", {"weight_decay": -1}, "weight_decay must be finite and at least 0"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        optim.by_name(name)(**options)
