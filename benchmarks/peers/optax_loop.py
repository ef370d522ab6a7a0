"""optax as its examples show it, an update a call, and as one would write it in a scan."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.cases import LEARNING_RATE, Case, problem
from benchmarks.variants import VARIANTS, Variant

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


def in_a_scan(case: Case) -> Callable[[], int]:
    """Epochs of `lax.scan` over the rows, gathered in one order, its updates optax's own."""
    variant = VARIANTS[case.variant] if case.variant else Variant()
    optimizer = variant.theirs
    if optimizer is None:
        raise LookupError("has no such method")
    data = jax.tree.map(jnp.asarray, problem(case))
    outputs = () if variant.outputs is None else (variant.outputs,)
    params = {"w": jnp.zeros((data[0].shape[1], *outputs)), "b": jnp.zeros(outputs)}

    def loss(params, x, y):
        return variant.link(x @ params["w"] + params["b"], y)

    def update(carry, row):
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params, *row)
        updates, state = optimizer.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def run(carry, data, orders):
        def epoch(carry, order):
            rows = data if not case.shuffled else jax.tree.map(lambda a: a[order], data)
            return jax.lax.scan(update, carry, rows)

        return jax.lax.scan(epoch, carry, orders)

    start = params, optimizer.init(params)
    generator = np.random.default_rng(0)
    orders = jnp.asarray([generator.permutation(case.n) for _ in range(case.epochs)], jnp.int32)

    def work() -> int:
        _, losses = jax.block_until_ready(run(start, data, orders))
        return losses.size

    return work
