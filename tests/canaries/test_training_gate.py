"""The gate of the parity tests must fail on every fault planted here, in both precisions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import jaxgd
from tests.parity.problems import PROBLEMS, rows
from tests.parity.trajectories import assert_same_training, jax_side, orders, torch_side

N, B, EPOCHS = 25, 8, 50
PER_EPOCH = 4
KEY = jax.random.key(3)


def every_epoch(period, fault):
    """An optimizer wrapper that applies `fault(update)` in the last update of every epoch."""

    def wrap(optimizer):
        def init(params):
            return optimizer.init(params), 0

        def update(grads, state, params):
            inner, count = state
            last = count % period == period - 1
            faulty = jax.tree.map(lambda g: jnp.where(last, fault(g), g), grads)
            change, inner = optimizer.update(faulty, inner, params)
            return change, (inner, count + 1)

        return optax.GradientTransformation(init, update)

    return wrap


def stale(optimizer):
    """Each update is made from the gradient of the update before it."""

    def init(params):
        return optimizer.init(params), jax.tree.map(jnp.zeros_like, params)

    def update(grads, state, params):
        inner, previous = state
        change, inner = optimizer.update(previous, inner, params)
        return change, (inner, grads)

    return optax.GradientTransformation(init, update)


def forgets_each_epoch(optimizer):
    """The momentum buffer starts anew with every epoch."""

    def update(grads, state, params):
        inner, count = state
        fresh = optimizer.init(params)
        inner = jax.tree.map(
            lambda old, new: jnp.where(count % PER_EPOCH == 0, new, old), inner, fresh
        )
        change, inner = optimizer.update(grads, inner, params)
        return change, (inner, count + 1)

    return optax.GradientTransformation(lambda p: (optimizer.init(p), 0), update)


MOMENTUM = optax.sgd(0.05, momentum=0.9)
FAULTS = {
    "learning rate × (1 + 1e-4)": optax.sgd(0.05 * (1 + 1e-4), momentum=0.9),
    "momentum × (1 + 1e-4)": optax.sgd(0.05, momentum=0.9 * (1 + 1e-4)),
    "nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "tail divided by b": every_epoch(PER_EPOCH, lambda g: g * (N % B) / B)(MOMENTUM),
    "tail skipped": every_epoch(PER_EPOCH, jnp.zeros_like)(MOMENTUM),
    "stale gradient": stale(MOMENTUM),
    "momentum forgotten each epoch": forgets_each_epoch(MOMENTUM),
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


def assert_caught(fault, run, reference):
    try:
        assert_same_training(run, reference)
    except AssertionError:
        return
    pytest.fail(f"not caught: {fault}", pytrace=False)


def test_the_gate_catches_every_faulty_optimizer(problem, dtype):
    data = rows(N, dtype)
    reference = torch_reference(problem, data)
    assert_same_training(ours(problem, data, MOMENTUM), reference)
    for name, optimizer in FAULTS.items():
        assert_caught(name, ours(problem, data, optimizer), reference)


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
    right = ours(problem, data, MOMENTUM)
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
