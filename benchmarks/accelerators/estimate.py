"""The time of an update on paper: an estimate from counts and public numbers, and no measurement.

    Σ_instructions (launch + max(bytes / bandwidth, FLOPs / peak)) + waits · wait
    + rows of blocked SGD's kernel · row
    + collectives · (⌈log₂ chips⌉ hops + 2 bytes (chips - 1) / chips / link)

A row of that kernel is a chain of operations each of which waits for the one before; its time is
that of 128 features and the logistic loss, and its reads are hidden behind it. Waits are those for
the host that ends a loop by looking at the device's data. Nothing overlaps, no kernel is slower
than the memory or the products allow, and an all-reduce goes around a ring.
"""

import math
from typing import NamedTuple

from benchmarks.accelerators.compiling import Compiled
from benchmarks.compiled_bytes import moved
from benchmarks.compiled_products import flops_of
from benchmarks.compiled_text import OWN_KERNELS, Instruction, kind


class Link(NamedTuple):
    """A network up to so many chips: bytes a second of one chip, and seconds a hop."""

    chips: int
    speed: float
    hop: float


class Chip(NamedTuple):
    """Public numbers of a chip, as one device: bytes a second, FLOPs a second in products of
    float32 at JAX's default precision, the seconds of a launch, of a wait for the host and of a row
    in the kernel of blocked SGD.

    What an instruction moves below `cache` bytes is moved at `cached` bytes a second instead.
    """

    bandwidth: float
    peak: float
    launch: float
    wait: float
    links: tuple[Link, ...]
    row: float = 0
    cache: float = 0
    cached: float = math.inf


# A launch of XLA's on NVIDIA takes about 2.5 µs. The least that XLA's own cost model gives a kernel
# on a v5e is 1,830 cycles of 1.5 GHz.
GPU_LAUNCH, GPU_WAIT, TPU_LAUNCH = 2.5e-6, 10e-6, 1.2e-6
NODES = 50e9, 5e-6  # 400 Gb/s for each GPU between nodes
POD, BETWEEN_PODS = 1e-6, (3e9, 20e-6)  # 100 Gb/s for each host of four chips
# A warp's row: 4 features a thread and a bias, five shuffles with an addition each, sixteen
# operations and two of the special units for the slope, and three for the weights. By published
# measurements of Volta to Hopper an operation takes 4 cycles, a shuffle 23 and a special unit 20.
GPU_ROW = 5 * 4 + 5 * (23 + 4) + 16 * 4 + 2 * 20 + 3 * 4
# On a TPU the compiler's own schedule of a row for a v5e is 38 bundles, with four waits for a sum
# along the lanes, a spread along them and two special functions. How long these are is not
# published: 40 cycles each are assumed, at 1.5 GHz.
TPU_ROW = (38 + 4 * 40) / 1.5e9
INFINIBAND = (Link(8, 450e9, 3e-6), Link(4096, *NODES))
CHIPS = {
    "A100": Chip(
        *(2.04e12, 156e12, GPU_LAUNCH, GPU_WAIT),
        *((Link(8, 300e9, 3e-6), Link(4096, 25e9, 5e-6)), GPU_ROW / 1.41e9),
    ),
    "H100": Chip(3.35e12, 495e12, GPU_LAUNCH, GPU_WAIT, INFINIBAND, GPU_ROW / 1.98e9),
    "H200": Chip(4.8e12, 495e12, GPU_LAUNCH, GPU_WAIT, INFINIBAND, GPU_ROW / 1.98e9),
    "B200": Chip(
        *(7.67e12, 1125e12, GPU_LAUNCH, GPU_WAIT),
        *((Link(8, 900e9, 3e-6), Link(4096, *NODES)), GPU_ROW / 1.965e9),
    ),
    "v5e": Chip(
        *(0.819e12, 197e12, TPU_LAUNCH, 0),
        *((Link(256, 100e9, POD), Link(4096, *BETWEEN_PODS)), TPU_ROW),
    ),
    "v5p": Chip(2.77e12, 459e12, TPU_LAUNCH, 0, (Link(4096, 300e9, POD),), TPU_ROW),
    "v6e": Chip(
        *(1.64e12, 918e12, TPU_LAUNCH, 0),
        *((Link(256, 224e9, POD), Link(4096, *BETWEEN_PODS)), TPU_ROW),
    ),
    # One of the two cores that are a device each.
    "TPU7x": Chip(3.69e12, 1153e12, TPU_LAUNCH, 0, (Link(4096, 300e9, POD),), TPU_ROW),
}
# What a device's kind, as JAX tells it, contains.
KINDS = {
    **{name: name for name in ("A100", "H100", "H200", "B200", "TPU7x")},
    **{"v5 lite": "v5e", "v5e": "v5e", "v5p": "v5p", "v6 lite": "v6e", "v6e": "v6e"},
    "TPU v5": "v5p",  # last: a v5e is a "TPU v5 lite"
}
PASSES = 13  # of blocks of 64 rows as a rule: `python -m benchmarks depth`


def name_of(kind: str) -> str | None:
    """The chip of `CHIPS` that a device of this kind is, if any."""
    return next((name for part, name in KINDS.items() if part in kind), None)


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
    busy = max(size / speed, flops_of(instruction) / chip.peak)
    return launched * chip.launch + max(busy, _rows(instruction) * chip.row)


def _rows(instruction: Instruction) -> int:
    """The rows that the kernel of blocked SGD takes one after another; it returns their logits."""
    ours = "sgd_of_a_linear_predictor" in instruction.attributes.split("backend_config")[0]
    if not ours or instruction.target not in OWN_KERNELS:
        return 0
    return max(array.shape[-1] for array in instruction.results[-1:])
