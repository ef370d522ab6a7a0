"""`python -m benchmarks.accelerators [TARGET …] > docs/accelerators.md`: the page, made anew.

Needs the compilers of the targets: CONTRIBUTING.md says how to install them. `taskset -c 1` before
it holds the last table, which runs, to one core.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template

import jax

from benchmarks.accelerators import this_cpu
from benchmarks.accelerators.clock import ROUNDS
from benchmarks.accelerators.compiling import Compiled, compiled
from benchmarks.accelerators.estimate import CHIPS, all_reduce_seconds, update_seconds
from benchmarks.accelerators.here import HEAD, measured, on_record
from benchmarks.accelerators.programs import FLEET, PROGRAMS, ROWS, TO_SCALE, programs_for
from benchmarks.accelerators.tables import short, table
from benchmarks.compiled_products import rounded
from benchmarks.topologies import TARGETS, chips


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    targets = sys.argv[1:] or list(TARGETS)
    single = [target for target in targets if target in CHIPS]
    page = Template(Path(__file__).with_name("page.md").read_text())
    names = ["jax", "libtpu", "jax-cuda13-plugin", "nvidia-cuda-nvcc"]
    cpu = this_cpu.numbers()
    print(
        page.substitute(
            versions=", ".join(f"{name} {version(name)}" for name in names),
            compiled=table(COMPILED, _compiled_rows(targets)),
            precision=table(["program", *single], _precision_rows(single)),
            scaled=table(["chips", *single], _scaled_rows(single)),
            chips=table(CHIP, _chip_rows()),
            cpu=table(HEAD, (row.cells for row in measured(cpu, ROUNDS))),
            cpu_numbers=f"{cpu.bandwidth / 1e9:.0f} GB/s from memory, {cpu.cached / 1e9:.0f} GB/s "
            f"from its cache, {cpu.peak / 1e9:.0f} GFLOP/s in products and "
            f"{cpu.launch * 1e9:.0f} ns for a kernel",
        ),
        end="",
    )


COMPILED = ["program", "target", "kernels", "collectives", "bytes sent", "kB moved", "MFLOP"]
COMPILED += ["temporary MB", "compiled in s", "estimate µs", "measured µs"]
CHIP = ["chip", "GB/s", "TFLOP/s", "launch µs", "links: up to chips, GB/s, µs a hop"]


def _compiled_rows(targets: Sequence[str]) -> Iterator[list[str]]:
    for program in dict.fromkeys(name for t in targets for name in programs_for(chips(t))):
        for target in targets:
            if program in programs_for(chips(target)) and program not in PROGRAMS[TO_SCALE]:
                figures = _figures(compiled(program, target), target)
                yield [program, target, *figures, on_record(target, program)]


def _figures(found: Compiled, target: str) -> list[str]:
    number, chip = chips(target), CHIPS[target.split("x", 1)[1] if chips(target) > 1 else target]
    collectives = found.an_update(sum(found.counts.collectives.values()))
    sent = found.an_update(sum(found.counts.collective_bytes.values()))
    together = collectives and collectives * all_reduce_seconds(chip, number, sent / collectives)
    return [
        f"{found.an_update(found.counts.kernels + found.counts.library_calls):.1f}",
        f"{collectives:.0f}",
        f"{sent:,.0f}",
        short(found.an_update(found.bytes) / 1e3),
        short(found.an_update(found.flops) / 1e6),
        f"{found.memory.temp_size_in_bytes / 1e6:.1f}",
        f"{found.seconds:.1f}",
        short((update_seconds(found, chip) + together) * 1e6),
    ]


def _precision_rows(targets: Sequence[str]) -> Iterator[list[str]]:
    for program in ("mini-batch 256", "mini-batch 32", "blocked SGD"):
        texts = (compiled(program, target).text for target in targets)
        yield [program, *("rounded" if rounded(text) else "float32" for text in texts)]


def _scaled_rows(targets: Sequence[str]) -> Iterator[list[str]]:
    for number in FLEET:
        yield [f"{number:,}", *(_scaled(target, number) for target in targets)]


def _scaled(target: str, number: int) -> str:
    """Microseconds of an update of GD on all rows, a share of which each chip holds."""
    try:
        share = compiled(f"GD of {ROWS // number} rows", target)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return "too large"
    sent = all_reduce_seconds(CHIPS[target], number, 4 * (share.params + 1))
    return short((update_seconds(share, CHIPS[target]) + sent) * 1e6)


def _chip_rows() -> Iterator[list[str]]:
    for name, chip in CHIPS.items():
        links = (f"{one.chips}, {one.speed / 1e9:.0f}, {one.hop * 1e6:.0f}" for one in chip.links)
        yield [
            name,
            f"{chip.bandwidth / 1e9:,.0f}",
            f"{chip.peak / 1e12:,.0f}",
            f"{chip.launch * 1e6:.1f}",
            "; ".join(links),
        ]


if __name__ == "__main__":
    main()
