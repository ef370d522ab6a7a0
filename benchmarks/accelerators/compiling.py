"""A run compiled for a target, and what its text says."""

import time
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks import compiled_bytes, compiled_products
from benchmarks.accelerators.programs import programs_for
from benchmarks.compiled_text import Counts, Work, counts, read
from benchmarks.topologies import devices

HERE = "here"  # the device that JAX takes by default


class Compiled(NamedTuple):
    """A program for a target; counts are those of a whole run on one of its devices."""

    run: Any
    arguments: tuple[Any, ...]
    updates: int
    params: int
    seconds: float
    memory: Any
    text: str
    work: Work
    counts: Counts
    bytes: int
    flops: int

    def an_update(self, count: float) -> float:
        """A count of the whole run for each of its updates."""
        return count / self.updates


@cache
def compiled(program: str, target: str, precision: str | None = None) -> Compiled:
    """The program compiled for a target, or `HERE`, at JAX's default precision or another."""
    mesh = Mesh(np.array(_devices(target)), ("data",))
    case = programs_for(mesh.size)[program](mesh)
    start = time.process_time()
    with jax.default_matmul_precision(precision):
        found = jax.jit(case.run).lower(*case.arguments).compile()
    seconds = time.process_time() - start
    text = found.as_text()
    work = read(text)
    return Compiled(
        found,
        case.arguments,
        case.updates,
        case.params,
        seconds,
        found.memory_analysis(),
        text,
        work,
        counts(work),
        compiled_bytes.total(work),
        compiled_products.flops(work),
    )


def _devices(target: str) -> tuple[Any, ...]:
    return tuple(jax.devices()[:1]) if target == HERE else devices(target)
