"""`python -m benchmarks.through_runs`: gradients through 10,400 updates, and every row left out.

What a hypergradient holds and how long it takes, by mode and number of levels: XLA's buffers beside
arguments and results, from the compiler's own `memory_analysis()`, and the least of three calls.
Then the influence of all 569 rows of the bundled table, and the 569 runs without one.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxgd
from jaxgd.study.influences import left_out, rank_correlation
from jaxgd.study.memory import held_bytes

ROWS, BATCH, EPOCHS = 416, 32, 800  # 13 updates an epoch
WAYS = [("forward", 2), *(("reverse", c) for c in (1, 2, 3, 4, 5))]


def table() -> tuple:
    x, y = load_breast_cancer(return_X_y=True)
    return jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(y, jnp.float32)


def predict(params, x):
    return jaxgd.mlp(params, x)[0]


def least_seconds(run: Callable, calls: int = 3) -> float:
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def through(epochs: int = EPOCHS, ways=WAYS) -> list[dict]:
    """The gradient in the learning rate of an MLP (30, 16, 1), by every way."""
    loss = jaxgd.supervised(predict, jaxgd.binary_cross_entropy_with_logits)
    x, y = table()
    params, key = jaxgd.init_mlp(jax.random.key(0), (30, 16, 1)), jax.random.key(1)
    rows, found = (x[:ROWS], y[:ROWS]), []
    for mode, levels in ways:
        end = jaxgd.study.trained(loss, optax.sgd, epochs=epochs, batch_size=BATCH, levels=levels)

        def final(rate, params, rows, end=end):
            ended = end({"learning_rate": rate}, params, rows, key)
            return jaxgd.mean(loss)(ended, (x[ROWS:], y[ROWS:]))

        slope = jax.jit((jax.jacfwd if mode == "forward" else jax.grad)(final))
        arguments = jnp.float32(0.05), params, rows
        compiled = slope.lower(*arguments).compile()
        seconds = least_seconds(lambda c=compiled, a=arguments: c(*a))
        gradient = float(compiled(*arguments))
        held = held_bytes(compiled)
        figures = {"mode": mode, "levels": levels, "held": held, "s": seconds}
        found.append(figures | {"gradient": gradient})
    return found


def rows_left_out(batch_size: int | None, epochs: int = 20) -> dict:
    """The influence of all 569 rows on the loss of all of them, and the runs without each."""
    loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
    data, key = table(), jax.random.key(0)
    n, descent = 569, optax.sgd(0.05)

    def value(weights, data, *, levels):
        end = jaxgd.study.trained(
            loss, lambda: descent, epochs=epochs, batch_size=batch_size, levels=levels
        )
        return jaxgd.mean(loss)(end({}, jaxgd.init_linear(30), data, key, weights), data)

    began = time.perf_counter()
    slope = jax.jit(jax.grad(lambda *a: value(*a, levels=2))).lower(jnp.ones(n), data).compile()
    compiled = time.perf_counter() - began
    foretold = -slope(jnp.ones(n), data)
    seconds = least_seconds(lambda: slope(jnp.ones(n), data))
    one = jax.jit(lambda w, data: value(w, data, levels=1))
    one_run = least_seconds(lambda: one(jnp.ones(n), data))
    began = time.perf_counter()
    measured = left_out(value, n, np.arange(n, dtype=np.int32), data, 2**28)
    return {
        "b": batch_size,
        "updates": epochs * -(-n // (batch_size or n)),
        "correlation": rank_correlation(jax.device_get(foretold), measured),
        "compile_gradient_s": compiled,
        "gradient_s": seconds,
        "one_run_s": one_run,
        "all_runs_with_compiling_s": time.perf_counter() - began,
        "held": held_bytes(slope),
    }


if __name__ == "__main__":
    print("| mode | levels | MB held | seconds | gradient |\n|---|---:|---:|---:|---:|")
    for way in through():
        # Forward mode takes two levels for what it looks up alone, and keeps no state.
        print(
            f"| {way['mode']} | {way['levels']} | {way['held'] / 1e6:.2f} | {way['s']:.2f} "
            f"| {way['gradient']:.5f} |",
            flush=True,
        )
    for b in (None, 32):
        print(rows_left_out(b), flush=True)
