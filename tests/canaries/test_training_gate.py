"""The gate of the parity tests must fail on every fault planted here, in both precisions."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import jaxgd
from tests.parity.problems import PROBLEMS, flat, rows
from tests.parity.trajectories import (
    Trajectory,
    assert_same_training,
    jax_side,
    orders,
    recording,
    torch_side,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

N, B, EPOCHS = 25, 8, 50
PER_EPOCH = 4
KEY = jax.random.key(3)


class Faults(NamedTuple):
    """What is faulty about SGD with momentum, in numbers: as they are here, nothing."""

    lr: float = 0.05
    momentum: float = 0.9
    nesterov: float = 0
    tail: float = 1  # what the last gradient of every epoch is multiplied by
    stale: float = 0  # each update is made from the gradient of the update before it
    forgets: float = 0  # the momentum buffer starts anew with every epoch


def faulty_sgd(faults):
    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros, 0

    def update(grads, state, params):
        buffer, before, count = state
        in_epoch = count % PER_EPOCH
        factor = jnp.where(in_epoch == PER_EPOCH - 1, faults.tail, 1)
        kept = jnp.where((in_epoch == 0) & (faults.forgets > 0), 0, faults.momentum)
        used = jax.tree.map(lambda g, b: factor * jnp.where(faults.stale > 0, b, g), grads, before)
        buffer = jax.tree.map(lambda m, g: kept * m + g, buffer, used)
        step = jax.tree.map(
            lambda m, g: -faults.lr * jnp.where(faults.nesterov > 0, faults.momentum * m + g, m),
            buffer,
            used,
        )
        return step, (buffer, grads, count + 1)

    return optax.GradientTransformation(init, update)


MOMENTUM = optax.sgd(0.05, momentum=0.9)
FAULTY = {
    "learning rate × (1 + 1e-4)": Faults(lr=0.05 * (1 + 1e-4)),
    "momentum × (1 + 1e-4)": Faults(momentum=0.9 * (1 + 1e-4)),
    "nesterov": Faults(nesterov=1),
    "tail divided by b": Faults(tail=(N % B) / B),
    "tail skipped": Faults(tail=0),
    "stale gradient": Faults(stale=1),
    "momentum forgotten each epoch": Faults(forgets=1),
}


@pytest.fixture
def problem(dtype):
    return PROBLEMS["logistic" if dtype == "float32" else "mlp"](dtype)


def torch_reference(problem, data, order=None):
    return torch_side(
        problem,
        "minibatch",
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        data,
        orders(KEY, N, EPOCHS) if order is None else order,
        B,
    )


def ours(problem, data, optimizer, key=KEY):
    epoch_of = partial(jaxgd.minibatch, batch_size=B)
    return jax_side(problem, epoch_of, optimizer, data, EPOCHS, PER_EPOCH, key)


def ours_with_each(problem, data, faults):
    """The training with each of the faults: all in one program."""

    def training(fault):
        optimizer = recording(faulty_sgd(fault), EPOCHS * PER_EPOCH)
        run = jaxgd.train(jaxgd.minibatch(problem.loss, optimizer, B), EPOCHS)
        state, losses = run(jaxgd.init_state(problem.params, optimizer), data, KEY)
        return losses.ravel(), state.opt_state[1]

    data = jax.tree.map(jnp.asarray, data)
    stacked = jax.tree.map(lambda *numbers: jnp.array(numbers, data[0].dtype), *faults)
    each = map(np.asarray, jax.jit(jax.vmap(training))(stacked))
    start = np.asarray(flat(problem.params))
    return [Trajectory(losses, params, start) for losses, params in zip(*each, strict=True)]


def assert_caught(fault, run, reference):
    try:
        assert_same_training(run, reference)
    except AssertionError:
        return
    pytest.fail(f"not caught: {fault}", pytrace=False)


def test_the_gate_catches_every_faulty_optimizer(problem, dtype):
    data = rows(N, dtype)
    reference = torch_reference(problem, data)
    right, *runs = ours_with_each(problem, data, [Faults(), *FAULTY.values()])
    assert_same_training(right, reference)
    for name, run in zip(FAULTY, runs, strict=True):
        assert_caught(name, run, reference)


def test_the_gate_catches_faulty_orders(problem, dtype):
    data = rows(N, dtype)
    right = ours(problem, data, MOMENTUM)
    order = orders(KEY, N, EPOCHS)
    repeated = order.clone()
    repeated[-1, 0] = repeated[-1, 1]
    swapped = order.clone()
    swapped[-1, [0, -1]] = swapped[-1, [-1, 0]]
    for name, faulty in {
        "a repeated row": repeated,
        "two rows swapped": swapped,
        "another key": orders(jax.random.key(4), N, EPOCHS),
        "one order for all epochs": order[:1].expand_as(order),
        "dropped tail": order[:, : N - N % B],
    }.items():
        assert_caught(name, right, torch_reference(problem, data, faulty))


def test_the_gate_catches_wrong_shapes_and_a_shifted_loss(problem, dtype):
    data = rows(N, dtype)
    right = torch_reference(problem, data)
    assert_same_training(right, right)
    for faulty in (
        right._replace(losses=np.roll(right.losses, 1)),
        right._replace(params=np.roll(right.params, 1, axis=0)),
        right._replace(params=right.params[:, :-1]),
        right._replace(losses=right.losses[:-1]),
        right._replace(losses=right.losses * (1 + 1e-5)),
    ):
        with pytest.raises(AssertionError):
            assert_same_training(faulty, right)


@pytest.mark.optax_promotion
def test_the_gate_catches_adam_without_bias_correction(dtype):
    problem, data = PROBLEMS["logistic"](dtype), rows(N, dtype)
    reference = torch_side(
        problem,
        "minibatch",
        lambda p: torch.optim.Adam(p, lr=0.01),
        data,
        orders(KEY, N, EPOCHS),
        B,
    )

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros

    def update(grads, state, params=None):
        m, v = state
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        return jax.tree.map(lambda m, v: -0.01 * m / (jnp.sqrt(v) + 1e-8), m, v), (m, v)

    with pytest.raises(AssertionError):
        assert_same_training(
            ours(problem, data, optax.GradientTransformation(init, update)), reference
        )
