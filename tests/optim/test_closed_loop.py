"""Training from scratch on both sides, each on its own gradients: the same at every update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax.flatten_util import ravel_pytree

from tests import tolerances
from tests.optim import problems
from tests.optim.cases import SCHEDULE, Case
from tests.optim.trajectories import value_error

pytestmark = pytest.mark.usefixtures("quick_compile")

CASES = [
    Case("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    Case("adam", {"lr": 0.01, "amsgrad": True}),
    Case("adamw", {"lr": 0.01, "weight_decay": 0.1, SCHEDULE: True}),
    Case("nadam", {"lr": 0.01}),
    Case("radam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    Case("rmsprop", {"lr": 0.001, "momentum": 0.9, "centered": True}),
    Case("adagrad", {"lr": 0.1, "lr_decay": 0.01}),
    Case("adadelta", {}),
]
LEAVES = [name for name in problems.SHAPES if not name.startswith("ill_scaled")]


def start():
    return {name: problems.init()[name] for name in LEAVES}


def loss(params, x, y):
    """The logistic and the MLP problem of `problems`, written once more in JAX."""
    logits = x @ params["logistic/weight"] + params["logistic/bias"]
    hidden = jnp.tanh(x @ params["mlp/0/weight"].T + params["mlp/0/bias"][None])
    out = (hidden @ params["mlp/2/weight"].T)[:, 0] + params["mlp/2/bias"]
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, y)) + jnp.mean((out - y) ** 2)


def train_jax(case):
    """The optimizers work number by number: the parameters are one vector to them."""
    tx = case.jaxgd()
    flat, unflatten = ravel_pytree(jax.tree.map(jnp.asarray, start()))

    def update(carry, batch):
        params, state = carry
        grads = jax.grad(lambda flat: loss(unflatten(flat), *batch))(params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    @jax.jit
    def run(params, batches):
        return jax.lax.scan(update, (params, tx.init(params)), batches)[1]

    trajectory = run(flat, jax.tree.map(jnp.asarray, problems.batches()))
    return jax.tree.map(np.asarray, jax.vmap(unflatten)(trajectory))


def train_torch(case):
    params = {k: torch.tensor(v, requires_grad=True) for k, v in start().items()}
    optimizer, after_step = case.torch(list(params.values()))
    trajectory = []
    for batch in zip(*map(torch.tensor, problems.batches()), strict=True):
        optimizer.zero_grad()
        (problems.logistic(params, *batch) + problems.mlp(params, *batch)).backward()
        optimizer.step()
        after_step()
        trajectory.append({k: p.detach().numpy().copy() for k, p in params.items()})
    return {k: np.stack([p[k] for p in trajectory]) for k in params}


def test_training_from_scratch_equals_torch(x64):
    errors = {case.id: value_error(train_jax(case), train_torch(case)) for case in CASES}
    assert {k: f"{e:.1e}" for k, e in errors.items() if e > tolerances.PARITY_F64} == {}
