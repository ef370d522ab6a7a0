"""Both sides of a training as arrays, one row an update, and the gate that holds them together."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import jaxgd
import torch_ref.descent
from tests.parity.problems import as_torch, flat, flat_torch
from tests.tolerances import TRAINING


class Trajectory(NamedTuple):
    losses: np.ndarray  # [updates]
    params: np.ndarray  # [updates, parameters], after each update
    start: np.ndarray  # [parameters]


def recording(optimizer, updates):
    """The optimizer, its state carrying the flat params after every update."""

    def init(params):
        row = flat(params)
        return optimizer.init(params), jnp.zeros((updates, row.size), row.dtype), 0

    def update(grads, state, params):
        inner, record, count = state
        change, inner = optimizer.update(grads, inner, params)
        record = record.at[count].set(flat(optax.apply_updates(params, change)))
        return change, (inner, record, count + 1)

    return optax.GradientTransformation(init, update)


def jax_side(problem, epoch_of, optimizer, data, epochs, updates_per_epoch, key, **train):
    optimizer = recording(optimizer, epochs * updates_per_epoch)
    run = jax.jit(jaxgd.train(epoch_of(problem.loss, optimizer), epochs, **train))
    data = jax.tree.map(jnp.asarray, data)
    state, losses = run(jaxgd.init_state(problem.params, optimizer), data, key)
    start = flat(problem.params)
    return Trajectory(*map(np.asarray, (losses.ravel(), state.opt_state[1], start)))


def torch_side(problem, descend, optimizer_of, data, *args):
    module = problem.module(problem.params)
    optimizer = optimizer_of(module.parameters())
    criterion = torch.nn.functional.binary_cross_entropy_with_logits
    x, y = map(as_torch, data)
    losses, params = getattr(torch_ref.descent, descend)(module, criterion, optimizer, x, y, *args)
    rows = np.stack([flat_torch(named, problem.names) for named in params])
    return Trajectory(np.array(losses), rows, np.asarray(flat(problem.params)))


def orders(key, n, epochs):
    """The very orders that `train` uses: [epochs, n]."""
    return torch.tensor(np.asarray(_orders(key, n, epochs)))


@partial(jax.jit, static_argnums=(1, 2))
def _orders(key, n, epochs):
    order = jax.vmap(lambda e: jaxgd.shuffle(jax.random.fold_in(key, e), n))
    return order(jnp.arange(epochs))


def assert_same_training(ours, theirs):
    """Losses, params and *updates* agree at every update, to the budget of their precision.

    Params drift together even when a learning rate is slightly off; their updates do not.
    """
    budget = TRAINING[ours.params.dtype.name]
    assert ours.losses.shape == theirs.losses.shape, "another number of updates"
    assert ours.params.shape == theirs.params.shape, "other parameters"
    moved = [np.diff(np.vstack([t.start, t.params]), axis=0) for t in (ours, theirs)]
    for name, got, want, limit in (
        ("loss", ours.losses[:, None], theirs.losses[:, None], budget.value),
        ("params", ours.params, theirs.params, budget.value),
        ("update", *moved, budget.update),
    ):
        scale = np.abs(want).max() if name != "update" else np.abs(want).max(axis=1)
        error = np.abs(got - want).max(axis=1) / scale
        worst = int(error.argmax())
        assert error[worst] <= limit, f"{name} {worst}: error {error[worst]:.1e} > {limit:.1e}"
