"""What was tried and what it gave: `python -m benchmarks.experiments`, all in one process."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

import jaxgd
from benchmarks.cases import LEARNING_RATE, Case, problem
from benchmarks.peers.ours import logistic_loss
from jaxgd.blocked import blocked_sgd
from jaxgd.objective import value_and_grad

OPTIMIZER = optax.sgd(LEARNING_RATE)
ROUNDS = 15


def main() -> None:
    for title, unit, per_second, candidates in (
        ravelled_carry(),
        block_size(100),
        block_size(784),
        gathering_ahead(30),
        gathering_ahead(784),
        chunk_of_rows(),
        shuffled_order(10**6),
        shuffled_order(999_983),
    ):
        print(f"| {title} | least {unit} |\n|---|---:|")
        for name, cost in _alternate(candidates).items():
            print(f"| {name} | {cost * per_second:.3g} |")
        print(flush=True)


def ravelled_carry():
    """One vector in the loop's carry, or the params as they are."""
    state, data, order = _start(20_000, 10)
    flat, unravel = ravel_pytree(state.params)

    def ravelled(flat, data, order):
        def update(flat, row):
            example = jax.tree.map(lambda a: a[row], data)
            value, grad = jax.value_and_grad(lambda p: logistic_loss(unravel(p), example))(flat)
            return flat - LEARNING_RATE * grad, value

        return jax.lax.scan(update, flat, order)

    candidates = {
        "as it is": _compiled(jaxgd.sgd(logistic_loss, OPTIMIZER), state, data, order),
        "ravelled": _compiled(ravelled, flat, data, order),
    }
    return "carry of per-example SGD, d=10", "ns/example", 1e9 / 20_000, candidates


def block_size(d: int):
    """Rows in order against blocks of them."""
    state, data, order = _start(8192, d)
    link = jaxgd.binary_cross_entropy_with_logits
    candidates = {
        f"block_size={k}": _compiled(
            blocked_sgd(link, LEARNING_RATE, block_size=k), state, data, order
        )
        for k in (1, 4, 8, 16, 32, 64)
    }
    candidates["sgd"] = _compiled(jaxgd.sgd(logistic_loss, OPTIMIZER), state, data, order)
    return f"per-example SGD, d={d}", "ns/example", 1e9 / 8192, candidates


def gathering_ahead(d: int, b: int = 32):
    """Each batch's rows in its own step, or those of several batches at once."""
    state, data, order = _start(8192, d)
    update = jaxgd.step(logistic_loss, OPTIMIZER)

    def ahead(batches):
        def epoch(state, data, order):
            def group(state, rows):
                examples = jax.tree.map(lambda a: jnp.take(a, rows, axis=0, mode="clip"), data)
                return jax.lax.scan(update, state, examples)

            return jax.lax.scan(group, state, order.reshape(-1, batches, b))

        return _compiled(epoch, state, data, order)

    candidates = {f"{k} at once": ahead(k) for k in (1, 8, 64)}
    return f"rows of mini-batches of {b}, d={d}", "µs/update", 1e6 / (8192 / b), candidates


def chunk_of_rows(n: int = 60_000, d: int = 784):
    """The rows a GD epoch works on at a time, against one read of them all."""
    state, data, _ = _start(n, d)
    x, _ = data
    candidates = {"one read (sum)": _compiled(jnp.sum, x)}
    for chunk in (None, 100, 300, 600, 1200, 5000):
        candidates[f"chunk={chunk}"] = _compiled(
            lambda params, data, chunk=chunk: value_and_grad(logistic_loss, params, data, chunk),
            state.params,
            data,
        )
    return f"GD, n={n} d={d}", "s per GB of rows", 1e9 / x.nbytes, candidates


def shuffled_order(n: int):
    """An order without a sort, against JAX's permutation."""
    key = jax.random.key(0)
    candidates = {
        "jaxgd.shuffle": _compiled(lambda key: jaxgd.shuffle(key, n), key),
        "jax.random.permutation": _compiled(lambda key: jax.random.permutation(key, n), key),
    }
    return f"order of n={n} rows", "ms", 1e3, candidates


def _start(n: int, d: int):
    data = jax.tree.map(jnp.asarray, problem(Case("experiment", "sgd", n, d)))
    state = jaxgd.init(jaxgd.init_linear(d), OPTIMIZER)
    return state, data, jaxgd.shuffle(jax.random.key(0), n)


def _compiled(fn: Callable, *arguments) -> Callable[[], object]:
    program = jax.jit(fn).lower(*arguments).compile()
    return lambda: program(*arguments)


def _alternate(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least seconds of each over alternating rounds, the first of which warms up."""
    least = dict.fromkeys(candidates, float("inf"))
    for done in range(ROUNDS + 1):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            jax.block_until_ready(candidate())
            if done:
                least[name] = min(least[name], time.perf_counter() - start)
    return least


if __name__ == "__main__":
    main()
