"""A run compiled for a target, and what its text says."""

import time
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks import compiled_bytes, compiled_products
from benchmarks.accelerators.programs import MANY, ONE, PROGRAMS
from benchmarks.compiled_text import Counts, Work, counts, read
from benchmarks.topologies import devices


class Compiled(NamedTuple):
    """A program for a target; counts are those of a whole run on one of its devices."""

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
    """The program compiled for the target, at JAX's default precision of products or another."""
    mesh = Mesh(np.array(devices(target)), ("data",))
    case = PROGRAMS[ONE if mesh.size == 1 else MANY][program](mesh)
    start = time.process_time()
    with jax.default_matmul_precision(precision):
        found = jax.jit(case.run).lower(*case.arguments).compile()
    seconds = time.process_time() - start
    text = found.as_text()
    work = read(text)
    return Compiled(
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
