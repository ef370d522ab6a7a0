"""This CPU's own numbers, measured, as those of a chip."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.accelerators.clock import ROUNDS, timed
from benchmarks.accelerators.estimate import Chip
from benchmarks.compiled_bytes import total
from benchmarks.compiled_text import counts, read

CACHE = 2**20  # an instruction that moves less finds it in a core's cache


def numbers() -> Chip:
    """This CPU as a chip: what it reads, multiplies and launches a second."""
    key = jax.random.key(0)
    wide = jax.random.normal(key, (2**26,))
    bandwidth = total(_work(jnp.sum, wide)) / _least(jnp.sum, wide)
    square = jax.random.normal(key, (1024, 1024))
    peak = 2 * 1024**3 / _least(jnp.dot, square, square)
    small, large = (jax.random.normal(key, (n,)) for n in (2**10, 2**16))
    launch = _least(_kernels, small) / counts(_work(_kernels, small)).kernels
    kernels = counts(_work(_kernels, large)).kernels
    cached = total(_work(_kernels, large)) / (_least(_kernels, large) - kernels * launch)
    return Chip(bandwidth, peak, launch, 0, (), cache=CACHE, cached=cached)


def _kernels(x: jax.Array) -> jax.Array:
    """A hundred times four passes that are not fused."""

    def four(_: Any, x: jax.Array) -> jax.Array:
        for _ in range(4):
            x = jax.lax.optimization_barrier(x * 1.01)
        return x

    return jax.lax.fori_loop(0, 100, four, x)


def _work(fn: Callable[..., Any], *arguments: jax.Array) -> Any:
    return read(jax.jit(fn).lower(*arguments).compile().as_text())


def _least(fn: Callable[..., Any], *arguments: jax.Array) -> float:
    program = jax.jit(fn).lower(*arguments).compile()
    return timed(lambda: program(*arguments), ROUNDS)
