"""jaxgd against torch_ref at every update: three descents × ragged cases × models × precisions."""

from functools import partial

import jax
import numpy as np
import optax
import pytest
import torch

import jaxgd
from tests.parity.problems import PROBLEMS, rows
from tests.parity.trajectories import assert_same_training, jax_side, orders, torch_side

BATCH = 8
RAGGED = {"r=0": 24, "r=1": 25, "r=b-1": 31}
UPDATES = 200

OPTIMIZERS = {
    "sgd": (optax.sgd(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (
        optax.sgd(0.02, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    ),
}


def batches(n, b):
    return -(-n // b)


def assert_parity(algorithm, n, model, optimizer, dtype):
    problem = PROBLEMS[model](dtype)
    data, key = rows(n, dtype), jax.random.key(3)
    ours, theirs = OPTIMIZERS[optimizer]
    size = {"gd": n, "sgd": 1, "minibatch": BATCH}[algorithm]
    per_epoch = batches(n, size)
    epochs = batches(UPDATES, per_epoch)
    epoch_of = {
        "gd": jaxgd.gd,
        "sgd": jaxgd.sgd,
        "minibatch": lambda *a: jaxgd.minibatch(*a, BATCH),
    }
    args = {
        "gd": (epochs,),
        "sgd": (orders(key, n, epochs),),
        "minibatch": (orders(key, n, epochs), BATCH),
    }
    assert_same_training(
        jax_side(problem, epoch_of[algorithm], ours, data, epochs, per_epoch, key),
        torch_side(problem, algorithm, theirs, data, *args[algorithm]),
    )


@pytest.mark.halved
@pytest.mark.parametrize("model", PROBLEMS)
@pytest.mark.parametrize(
    ("algorithm", "n"),
    [
        pytest.param(algorithm, n, id=f"{algorithm}-{r}")
        for algorithm in ("gd", "sgd", "minibatch")
        for r, n in RAGGED.items()
        if algorithm == "minibatch" or r == "r=1"  # the others have no ragged batch
    ],
)
def test_every_update_equals_torch(algorithm, n, model, dtype):
    assert_parity(algorithm, n, model, "sgd", dtype)


@pytest.mark.halved
@pytest.mark.parametrize("algorithm", ["gd", "sgd", "minibatch"])
def test_the_optimizer_remembers_across_batches_and_epochs(algorithm, dtype):
    assert_parity(algorithm, RAGGED["r=b-1"], "mlp", "momentum", dtype)


@pytest.mark.parametrize("chunk", [1, 7, 25])
def test_chunked_gd_equals_torch(chunk, dtype):
    problem, data = PROBLEMS["mlp"](dtype), rows(25, dtype)
    ours, theirs = OPTIMIZERS["sgd"]
    epoch_of = partial(jaxgd.gd, chunk=chunk)
    assert_same_training(
        jax_side(problem, epoch_of, ours, data, 60, 1, jax.random.key(0)),
        torch_side(problem, "gd", theirs, data, 60),
    )


@pytest.mark.parametrize("batch", [1, 24])
def test_batch_of_one_and_of_all_rows_are_sgd_and_gd(batch, dtype):
    """The three algorithms are one function, at both ends."""
    problem, data, key = PROBLEMS["logistic"](dtype), rows(24, dtype), jax.random.key(3)
    ours, theirs = OPTIMIZERS["sgd"]
    per_epoch = 24 // batch
    descend = "sgd" if batch == 1 else "minibatch"
    args = (orders(key, 24, 5),) if batch == 1 else (orders(key, 24, 5), 24)
    assert_same_training(
        jax_side(problem, lambda *a: jaxgd.minibatch(*a, batch), ours, data, 5, per_epoch, key),
        torch_side(problem, descend, theirs, data, *args),
    )


def test_rows_as_they_lie(dtype):
    problem, data, key = PROBLEMS["logistic"](dtype), rows(25, dtype), jax.random.key(3)
    ours, theirs = OPTIMIZERS["sgd"]
    epoch_of = partial(jaxgd.minibatch, batch_size=BATCH)
    straight = torch.arange(25).expand(5, 25)
    assert_same_training(
        jax_side(problem, epoch_of, ours, data, 5, 4, key, order=None),
        torch_side(problem, "minibatch", theirs, data, straight, BATCH),
    )


def test_losses_are_those_before_the_update():
    problem, (x, y) = PROBLEMS["logistic"]("float32"), rows(24, "float32")
    ours = jax_side(problem, jaxgd.gd, optax.sgd(0.1), (x, y), 1, 1, jax.random.key(0))
    z = x @ np.asarray(problem.params.w) + float(problem.params.b)
    expected = np.mean(np.logaddexp(0, z) - y * z)
    np.testing.assert_allclose(ours.losses, [expected], rtol=1e-6)
