"""The loop most optax examples show: one jitted update, called from Python for every batch."""

from collections.abc import Callable

import jax
import numpy as np
import optax

from benchmarks.cases import LEARNING_RATE, Case, problem

UPDATES = 1000


def run(case: Case) -> Callable[[], int]:
    x, y = problem(case)
    optimizer = optax.sgd(LEARNING_RATE)
    params = {"w": np.zeros(case.d, np.float32), "b": np.float32(0)}

    def loss(params, x, y):
        logits = x @ params["w"] + params["b"]
        return optax.losses.sigmoid_binary_cross_entropy(logits, y).mean()

    @jax.jit
    def update(params, opt_state, x, y):
        value, grad = jax.value_and_grad(loss)(params, x, y)
        updates, opt_state = optimizer.update(grad, opt_state)
        return optax.apply_updates(params, updates), opt_state, value

    order = np.random.default_rng(0).permutation(case.n)
    batches = [order[i : i + case.batch] for i in range(0, case.n - case.batch + 1, case.batch)]
    batches = batches[:UPDATES]

    def work() -> int:
        carry = params, optimizer.init(params)
        for rows in batches:
            *carry, _ = update(*carry, x[rows], y[rows])
        jax.block_until_ready(carry)
        return len(batches)

    return work
