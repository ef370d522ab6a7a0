"""A PyTorch training and its port to JAX: 200 updates of an MLP over one DataLoader's order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import torch_ref.descent
from jaxgd.equivalence import assert_equivalent, calibrate, compare
from jaxgd.interop.torch import dataloader_order

N, BATCH, EPOCHS = 64, 8, 25
ORDER = dataloader_order(0, N, EPOCHS)

OPTIMIZERS = {
    "sgd": (0.1, torch.optim.SGD, optax.sgd),
    "momentum": (
        0.03,
        lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
        lambda lr: optax.sgd(lr, momentum=0.9),
    ),
    "adam": (0.01, torch.optim.Adam, optax.adam),
}

pytestmark = [
    pytest.mark.optax_promotion,
    pytest.mark.parametrize("precision", ["float32", "float64"]),
    pytest.mark.parametrize("name", OPTIMIZERS),
]


def problem():
    """Data and a start that every precision can hold."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 8)).astype(np.float32)
    y = np.sin(x @ rng.normal(size=8)).astype(np.float32)
    start = {
        "0": {"weight": rng.normal(size=(16, 8)) / 3, "bias": np.zeros(16)},
        "2": {"weight": rng.normal(size=(1, 16)) / 4, "bias": np.zeros(1)},
    }
    return x, y, jax.tree.map(np.float32, start)


@functools.cache
def torch_run(precision, name):
    x, y, start = problem()
    dtype = getattr(torch, precision)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    model = model.to(dtype)
    weights = {f"{i}.{k}": torch.tensor(v, dtype=dtype) for i in start for k, v in start[i].items()}
    model.load_state_dict(weights)
    learning_rate, optimizer, _ = OPTIMIZERS[name]
    trajectory = torch_ref.descent.minibatch(
        model,
        torch.nn.MSELoss(),
        optimizer(model.parameters(), lr=learning_rate),
        torch.tensor(x, dtype=dtype),
        torch.tensor(y, dtype=dtype)[:, None],
        torch.tensor(ORDER),
        BATCH,
    )
    return [weights, *trajectory.params]


def jax_run(precision, name, scale=1.0):
    with jax.enable_x64(precision == "float64"):
        start, run = compiled(precision, name)
        walk = run(start, scale * OPTIMIZERS[name][0])
        return jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), start, walk)


@functools.cache
def compiled(precision, name):
    """The start, and run(start, learning_rate) -> the parameters after each update."""
    x, y, start = jax.tree.map(lambda leaf: jnp.asarray(leaf, precision), problem())
    optimizer = OPTIMIZERS[name][2]

    def loss(params, row):
        hidden = jnp.tanh(params["0"]["weight"] @ x[row] + params["0"]["bias"])
        output = params["2"]["weight"] @ hidden + params["2"]["bias"]
        return (output[0] - y[row]) ** 2

    def objective(params, rows):
        return jnp.mean(jax.vmap(loss, (None, 0))(params, rows))

    def run(start, learning_rate):
        transform = optimizer(learning_rate)

        def update(carry, rows):
            params, state = carry
            change, state = transform.update(jax.grad(objective)(params, rows), state, params)
            params = optax.apply_updates(params, change)
            return (params, state), params

        batches = jnp.asarray(ORDER.reshape(-1, BATCH))
        return jax.lax.scan(update, (start, transform.init(start)), batches)[1]

    return start, jax.jit(run)


def test_the_port_is_proven(name, precision):
    report = assert_equivalent(jax_run(precision, name), torch_run(precision, name))
    assert report.entries == 201
    assert {leaf.path for leaf in report.leaves} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert report.resolution.min() < 1e-4


def test_a_learning_rate_off_by_1e_4_is_not(name, precision):
    faulty = jax_run(precision, name, scale=1 + 1e-4)
    report = compare(faulty, torch_run(precision, name))
    assert report.verdict == "parted"
    assert report.parted_at <= 2


def test_calibrated_by_the_port_itself(name, precision):
    calibration = calibrate(lambda dtype: jax_run(dtype.name, name))
    assert calibration.tenfold_time is None
    expected = torch_run(precision, name)
    assert_equivalent(jax_run(precision, name), expected, calibration)
    smallest = 1e-4 if precision == "float32" else 1e-11
    assert compare(jax_run(precision, name, scale=1 + smallest), expected, calibration).parted_at
