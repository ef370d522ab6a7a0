"""Cells trained as many at a time as memory holds, with word of how far they are."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxgd.descent import State
from jaxgd.study.many_runs import OptimizerOf, Outcome, Program, Rule, Tried, program_of
from jaxgd.study.settings import Settings

# Of a device's free memory; of the machine's for a CPU, which other programs use too.
_OF_A_DEVICE, _OF_A_MACHINE = 0.9, 0.5


@dataclass(frozen=True)
class Work:
    """What all cells of a study share: where they start, on what, and with which keys.

    Keys are their data [s, …], of the given kind. `memory` is what a device may take, in bytes;
    `report` is told after each epoch of a part of how many cells it was.
    """

    loss: Callable[..., Any]
    optimizer: OptimizerOf
    params: PyTree
    data: PyTree
    validation: PyTree
    keys: np.ndarray
    key_impl: Any
    devices: tuple[jax.Device, ...]
    memory: int | float
    report: Callable[[int], None] | None = None


class Advance(NamedTuple):
    """Of cells [seeds, settings]: what came of each epoch, their states, the parts they were in."""

    outcome: Outcome
    states: State | None
    parts: int


class Part(NamedTuple):
    """Cells that are trained at a time: numbers of seeds and settings, the first `real` of each.

    The others repeat the last, so that all parts are of one size.
    """

    seeds: np.ndarray
    settings: np.ndarray
    real: tuple[int, int]


def train_cells(
    work: Work,
    micro: int,
    alone: bool,
    settings: Settings,
    epochs: range,
    states: State | None = None,
    *,
    keep: bool = False,
) -> Advance:
    """Train every setting with every seed over these epochs, from their start or from `states`.

    The states come back where they are to be kept, on the host: a part's make room for the next's.
    """
    shape, d = (len(work.keys), len(settings)), len(work.devices)
    by_seed = _rounded_up(shape[0], d) * shape[1] < _rounded_up(shape[1], d) * shape[0]
    config: Any = jax.config
    precision = config.jax_default_matmul_precision
    rule = Rule(
        work.loss, work.optimizer, micro, alone, work.key_impl, precision, work.devices, by_seed
    )
    program = program_of(rule)
    runner = _Runner(work, program, settings, states, *program.put(work.data, work.validation))
    size = _part_size(shape, (d, 1) if by_seed else (1, d), runner.bytes_of, work.memory)
    done = [runner.run(part, epochs, keep) for part in _parts(shape, size)]
    columns = math.ceil(shape[1] / size[1])
    outcome, states = (_joined(cells, columns) for cells in zip(*done, strict=True))
    return Advance(outcome, states, len(done))


def free_memory(devices: Sequence[jax.Device]) -> int | float:
    """How many bytes a device may take: of its own free memory, or its share of the machine's."""
    stats = devices[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return _OF_A_DEVICE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    if not hasattr(os, "sysconf"):  # not on Windows
        return math.inf
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _OF_A_MACHINE * machine / len(devices)


def widest(params: PyTree) -> np.dtype:
    """The widest dtype of the params, in which hyper-parameters are given to a program."""
    return max((np.dtype(leaf.dtype) for leaf in jax.tree.leaves(params)), key=lambda d: d.itemsize)


@dataclass(frozen=True)
class _Runner:
    """What a program is given for each part of the cells."""

    work: Work
    program: Program
    settings: Settings
    states: State | None
    data: PyTree
    validation: PyTree

    def bytes_of(self, size: tuple[int, int]) -> int:
        """What a device needs for a part of so many seeds and settings."""
        part = next(_parts((len(self.work.keys), len(self.settings)), size))
        given = *self._given(part), self.data, self.validation
        work = self.work
        return self.program.bytes_of(work.params, len(work.devices), work.memory, *given)

    def run(self, part: Part, epochs: range, keep: bool) -> tuple[Outcome, State | None]:
        """Train a part's cells, and bring what came of them to the host."""
        states, *given = self._arguments(part)
        advance = self.program.compiled(states, *given, np.int32(0))
        outcomes = []
        for e in epochs:
            states, outcome = advance(states, *given, np.int32(e))
            outcomes.append(outcome)
            if self.work.report is not None:
                jax.block_until_ready(outcome)
                self.work.report(part.real[0] * part.real[1])
        s, k = map(slice, part.real)
        stacked = jax.tree.map(lambda *a: np.stack([np.asarray(x)[s, k] for x in a], -1), *outcomes)
        return stacked, jax.tree.map(lambda a: np.asarray(a)[s, k], states) if keep else None

    def _arguments(self, part: Part) -> tuple[Any, ...]:
        """States, tried settings, keys, data and validation rows, where the devices want them."""
        tried, keys = self._given(part)
        if self.states is None:
            states = self.program.init(self.work.params, tried, keys)
        else:
            cells = np.ix_(part.seeds, part.settings)
            states = self.program.put_cells(jax.tree.map(lambda a: a[cells], self.states))
        return states, tried, keys, self.data, self.validation

    def _given(self, part: Part) -> tuple[Tried, Array]:
        own, dtype = self.settings.take(part.settings), widest(self.work.params)
        points = {name: values.astype(dtype) for name, values in own.points.items()}
        keys = self.work.keys[part.seeds]
        return self.program.put_tried(Tried(points, own.sizes.astype(np.int32)), keys)


def _rounded_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _part_size(
    shape: tuple[int, int],
    unit: tuple[int, int],
    bytes_of: Callable[[tuple[int, int]], int],
    memory: int | float,
) -> tuple[int, int]:
    """The most cells [seeds, settings] at a time for which the compiler asks no more than memory.

    Parts are of one size, so that one program does them all, and a multiple of `unit`.
    """
    size = [_rounded_up(count, one) for count, one in zip(shape, unit, strict=True)]
    while (needed := bytes_of((size[0], size[1]))) > memory:
        axis = 1 if size[1] > unit[1] else 0
        if size[axis] == unit[axis]:
            raise MemoryError(
                f"a device must have memory for one run; it takes {needed:,} bytes of "
                f"{memory:,.0f}. Give more by memory=, or less data."
            )
        parts = math.ceil(shape[axis] / size[axis]) * math.ceil(needed / memory)
        smaller = _rounded_up(math.ceil(shape[axis] / parts), unit[axis])
        size[axis] = min(smaller, size[axis] - unit[axis])
    return size[0], size[1]


def _parts(shape: tuple[int, int], size: tuple[int, int]) -> Iterator[Part]:
    """The parts of so many cells, seed by seed."""
    for s in range(0, shape[0], size[0]):
        for k in range(0, shape[1], size[1]):
            real = min(size[0], shape[0] - s), min(size[1], shape[1] - k)
            seeds, settings = (
                np.minimum(np.arange(start, start + most), count - 1)
                for start, most, count in zip((s, k), size, shape, strict=True)
            )
            yield Part(seeds, settings, real)


def _joined(parts: Sequence[PyTree], columns: int) -> PyTree:
    """The parts' cells as one array, `columns` of them side by side."""
    rows = [parts[i : i + columns] for i in range(0, len(parts), columns)]
    wide = [jax.tree.map(lambda *a: np.concatenate(a, axis=1), *row) for row in rows]
    return jax.tree.map(lambda *a: np.concatenate(a, axis=0), *wide)
