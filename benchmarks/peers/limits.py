"""What the machine allows: the latency of the chain no one can shorten, one read of the bytes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

import jaxgd
from benchmarks.cases import LEARNING_RATE, Case, problem


def dependent_chain(case: Case) -> Callable[[], int]:
    """n scalars in a row, each the loss's slope at the one before: no features, no memory."""
    squares = case.kind == "squares"

    @jax.jit
    def chain(start: jax.Array) -> jax.Array:
        def link(_, z: jax.Array) -> jax.Array:
            g = z if squares else jax.nn.sigmoid(z)
            return z - LEARNING_RATE * g

        return jax.lax.fori_loop(0, case.n, link, start)

    def work() -> int:
        chain(jnp.float32(0.5)).block_until_ready()
        return case.n

    return work


def one_read(case: Case) -> Callable[[], int]:
    """Every row read once from where it lies."""
    read = jax.jit(jnp.sum)
    x = jnp.asarray(problem(case)[0])

    def work() -> int:
        for _ in range(case.epochs):
            read(x).block_until_ready()
        return case.epochs * -(-case.n // (case.n if case.kind == "gd" else case.batch))

    return work


def gather(case: Case) -> Callable[[], int]:
    """Every row read once in a shuffled order, and written out one after another."""
    x = jnp.asarray(problem(case)[0])

    @jax.jit
    def permuted(x: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.take(x, jaxgd.shuffle(key, case.n), axis=0, mode="clip")

    def work() -> int:
        for _ in range(case.epochs):
            permuted(x, jax.random.key(0)).block_until_ready()
        return case.epochs * -(-case.n // case.batch)

    return work
