"""The estimate held against this CPU: its own numbers measured, the same programs run."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.compiling import compiled
from benchmarks.accelerators.estimate import Chip, update_seconds
from benchmarks.accelerators.programs import ONE, PROGRAMS
from benchmarks.compiled_bytes import total
from benchmarks.compiled_text import counts, read

CACHE = 2**20  # an instruction that moves less finds it in a core's cache
ROUNDS = 8


class Row(NamedTuple):
    """Microseconds of an update of a program, on paper and measured."""

    program: str
    estimated: float
    measured: float


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
    return Chip(bandwidth, peak, launch, 0, (), CACHE, cached)


def rows(chip: Chip) -> Iterator[Row]:
    """Every program of one chip."""
    for program in PROGRAMS[ONE]:
        found = compiled(program, "cpu")
        arguments = jax.tree.map(_values, found.arguments)
        measured = _timed(lambda run=found.run, args=arguments: run(*args)) / found.updates
        yield Row(program, update_seconds(found, chip) * 1e6, measured * 1e6)


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
    return _timed(lambda: program(*arguments))


def _timed(call: Callable[[], Any]) -> float:
    """The least seconds of the processor for a call, warm: other programs do not count."""
    least = float("inf")
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        jax.block_until_ready(call())
        least = min(least, time.process_time() - start)
    return least


def _values(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """Numbers of a shape: normal ones, and zeros for counts and labels."""
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.device_put(jax.random.key(0), shape.sharding)
    if not jnp.issubdtype(shape.dtype, jnp.floating):
        return jax.device_put(np.zeros(shape.shape, shape.dtype), shape.sharding)
    drawn = np.random.default_rng(0).normal(size=shape.shape, scale=0.1)
    return jax.device_put(drawn.astype(shape.dtype), shape.sharding)
