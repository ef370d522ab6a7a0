"""The time of an update on paper: an estimate from counts and public numbers, and no measurement.

    Σ_instructions (launch + max(bytes / bandwidth, FLOPs / peak)) + waits · wait
    + collectives · (⌈log₂ chips⌉ hops + 2 bytes (chips - 1) / chips / link)

Waits are those for the host that ends a loop by looking at the device's data. Nothing overlaps, no
kernel is slower than the memory or the products allow, and an all-reduce goes around a ring.
"""

import math
from typing import NamedTuple

from benchmarks.accelerators.compiling import Compiled
from benchmarks.compiled_bytes import moved
from benchmarks.compiled_products import flops_of
from benchmarks.compiled_text import Instruction, kind


class Link(NamedTuple):
    """A network up to so many chips: bytes a second of one chip, and seconds a hop."""

    chips: int
    speed: float
    hop: float


class Chip(NamedTuple):
    """Public numbers of a chip, as one device: bytes a second, FLOPs a second in products of
    float32 at JAX's default precision, the seconds of a launch and of a wait for the host.

    What an instruction moves below `cache` bytes is moved at `cached` bytes a second instead.
    """

    bandwidth: float
    peak: float
    launch: float
    wait: float
    links: tuple[Link, ...]
    cache: float = 0
    cached: float = math.inf


# A launch of XLA's on NVIDIA takes about 2.5 µs. The least that XLA's own cost model gives a kernel
# on a v5e is 1,830 cycles of 1.5 GHz.
GPU_LAUNCH, GPU_WAIT, TPU_LAUNCH = 2.5e-6, 10e-6, 1.2e-6
NODES = 50e9, 5e-6  # 400 Gb/s for each GPU between nodes
POD, BETWEEN_PODS = 1e-6, (3e9, 20e-6)  # 100 Gb/s for each host of four chips
CHIPS = {
    "A100": Chip(
        2.04e12, 156e12, GPU_LAUNCH, GPU_WAIT, (Link(8, 300e9, 3e-6), Link(4096, 25e9, 5e-6))
    ),
    "H100": Chip(3.35e12, 495e12, GPU_LAUNCH, GPU_WAIT, (Link(8, 450e9, 3e-6), Link(4096, *NODES))),
    "B200": Chip(
        7.67e12, 1125e12, GPU_LAUNCH, GPU_WAIT, (Link(8, 900e9, 3e-6), Link(4096, *NODES))
    ),
    "v5e": Chip(
        0.819e12, 197e12, TPU_LAUNCH, 0, (Link(256, 100e9, POD), Link(4096, *BETWEEN_PODS))
    ),
    "v5p": Chip(2.77e12, 459e12, TPU_LAUNCH, 0, (Link(4096, 300e9, POD),)),
    "v6e": Chip(1.64e12, 918e12, TPU_LAUNCH, 0, (Link(256, 224e9, POD), Link(4096, *BETWEEN_PODS))),
    # One of the two cores that are a device each.
    "TPU7x": Chip(3.69e12, 1153e12, TPU_LAUNCH, 0, (Link(4096, 300e9, POD),)),
}
PASSES = 13  # of blocks of 64 rows as a rule: `python -m benchmarks depth`


def update_seconds(program: Compiled, chip: Chip) -> float:
    """The time of one update on a chip by itself, loops of unknown length ended as usual."""
    work = program.work.ending_after(PASSES)
    busy = sum(times * _seconds(one, chip) for times, one in work.each())
    waits = sum(0 if loop.exact else trips for trips, loop in work.all_loops())
    return (busy + waits * chip.wait) / program.updates


def all_reduce_seconds(chip: Chip, chips: int, sent: float) -> float:
    """The time of one all-reduce of so many bytes."""
    if chips == 1:
        return 0.0
    link = next(link for link in chip.links if chips <= link.chips)
    return math.ceil(math.log2(chips)) * link.hop + 2 * sent * (chips - 1) / chips / link.speed


def _seconds(instruction: Instruction, chip: Chip) -> float:
    launched = kind(instruction) in ("kernel", "library call")
    size = moved(instruction)
    speed = chip.cached if size < chip.cache else chip.bandwidth
    return launched * chip.launch + max(size / speed, flops_of(instruction) / chip.peak)
