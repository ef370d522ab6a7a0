"""The programs run on the accelerator that is here, each held against its estimate.

    python -m benchmarks --accelerator

The estimate of a chip whose public numbers `estimate.py` has is made of those, that of a CPU of its
own numbers, measured first; of any other device there is none, and the programs are measured all
the same. What is measured of a chip is kept in `measured/`, where the page takes it from.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.clock import timed
from benchmarks.accelerators.compiling import HERE, compiled
from benchmarks.accelerators.estimate import CHIPS, Chip, name_of, update_seconds
from benchmarks.accelerators.programs import ONE, PROGRAMS
from benchmarks.accelerators.tables import short, table

MEASURED = Path(__file__).with_name("measured")
HEAD = ["program", "estimated µs", "measured µs", "estimated / measured"]


class Row(NamedTuple):
    """Microseconds of an update of a program: on paper, if there is paper, and measured."""

    program: str
    estimated: float | None
    measured: float

    @property
    def cells(self) -> list[str]:
        if self.estimated is None:
            return [self.program, "none", short(self.measured), ""]
        ratio = f"{self.estimated / self.measured:.2f}"
        return [self.program, short(self.estimated), short(self.measured), ratio]


def main(rounds: int) -> None:
    """Measure, say how far off the estimate was, keep the figures, and check this device."""
    device = jax.devices()[0]
    chip, words = numbers_of(device)
    print(f"{device.platform} ({device.device_kind}), jax {jax.__version__}. {words}\n", flush=True)
    rows = list(measured(chip, rounds))
    print(table(HEAD, (row.cells for row in rows)))
    print(f"\n{how_far_off(rows)}\n{kept(name_of(device.device_kind), rows)}\n", flush=True)
    print(checked(), flush=True)


def numbers_of(device: Any) -> tuple[Chip | None, str]:
    """A device as a chip of the estimate, and where its numbers come from, in words."""
    name = name_of(device.device_kind)
    if name:
        return CHIPS[name], f"Estimated from the public numbers of one {name}."
    if device.platform == "cpu":
        from benchmarks.accelerators import this_cpu

        return this_cpu.numbers(), "Estimated from this CPU's own numbers, measured first."
    return None, (
        f"There are no public numbers of {device.device_kind!r} in benchmarks/accelerators/"
        "estimate.py: nothing is estimated. Add it to CHIPS and KINDS there."
    )


def measured(
    chip: Chip | None, rounds: int, programs: Iterable[str] = tuple(PROGRAMS[ONE])
) -> Iterator[Row]:
    """Every program of one chip, compiled for the device that is here and run on it."""
    for program in programs:
        found = compiled(program, HERE)
        arguments = jax.tree.map(_values, found.arguments)
        seconds = timed(lambda run=found.run, args=arguments: run(*args), rounds) / found.updates
        paper = None if chip is None else update_seconds(found, chip) * 1e6
        yield Row(program, paper, seconds * 1e6)


def how_far_off(rows: Sequence[Row]) -> str:
    """The estimate's error in a line: the middle of the ratios, and the two that are furthest."""
    ratios = {row.program: row.estimated / row.measured for row in rows if row.estimated}
    if not ratios:
        return "No estimate to hold against."
    low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    return (
        f"The estimate was {mean:.2g} times what was measured, in the geometric mean of "
        f"{len(ratios)} programs: from {ratios[low]:.2g} ({low}) to {ratios[high]:.2g} ({high})."
    )


def kept(name: str | None, rows: Sequence[Row], folder: Path = MEASURED) -> str:
    """Write the measured microseconds of a chip to where the page finds them, and say so."""
    if name is None:
        return "docs/accelerators.md has room for the chips of its table alone: nothing is kept."
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    found = {"jax": jax.__version__} | {row.program: round(row.measured, 4) for row in rows}
    path.write_text(json.dumps(found, indent=2) + "\n")
    return f"Kept in {path}: python -m benchmarks.accelerators puts it into docs/accelerators.md."


def on_record(name: str, program: str, folder: Path = MEASURED) -> str:
    """The measured microseconds of a chip's program, where somebody has measured them."""
    path = folder / f"{name}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return short(found[program]) if program in found else "not run"


def checked() -> str:
    """Run `jaxgd check` on this device, in this process, which holds it; and say how it ended."""
    try:
        from jaxgd.cli.check_command import check

        check()
    except ImportError as error:
        return f"jaxgd check did not run: {error}"
    except SystemExit as failed:
        return f"jaxgd check failed with exit status {failed.code}: see above."
    return "jaxgd check passed."


def _values(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """Numbers of a shape: normal ones, and zeros for counts and labels."""
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.device_put(jax.random.key(0), shape.sharding)
    if not jnp.issubdtype(shape.dtype, jnp.floating):
        return jax.device_put(np.zeros(shape.shape, shape.dtype), shape.sharding)
    drawn = np.random.default_rng(0).normal(size=shape.shape, scale=0.1)
    return jax.device_put(drawn.astype(shape.dtype), shape.sharding)
