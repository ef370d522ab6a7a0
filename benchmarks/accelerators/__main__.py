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
from benchmarks.accelerators.compiling import Compiled, compiled
from benchmarks.accelerators.estimate import CHIPS, all_reduce_seconds, update_seconds
from benchmarks.accelerators.programs import FLEET, PROGRAMS, ROWS, TO_SCALE, programs_for
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
            compiled=_table(COMPILED, _compiled_rows(targets)),
            precision=_table(["program", *single], _precision_rows(single)),
            scaled=_table(["chips", *single], _scaled_rows(single)),
            chips=_table(CHIP, _chip_rows()),
            cpu=_table(CPU, _cpu_rows(cpu)),
            cpu_numbers=f"{cpu.bandwidth / 1e9:.0f} GB/s from memory, {cpu.cached / 1e9:.0f} GB/s "
            f"from its cache, {cpu.peak / 1e9:.0f} GFLOP/s in products and "
            f"{cpu.launch * 1e9:.0f} ns for a kernel",
        ),
        end="",
    )


COMPILED = ["program", "target", "kernels", "collectives", "bytes sent", "kB moved", "MFLOP"]
COMPILED += ["temporary MB", "compiled in s", "estimate µs"]
CHIP = ["chip", "GB/s", "TFLOP/s", "launch µs", "links: up to chips, GB/s, µs a hop"]
CPU = ["program", "estimated µs", "measured µs", "estimated / measured"]


def _compiled_rows(targets: Sequence[str]) -> Iterator[list[str]]:
    for program in dict.fromkeys(name for t in targets for name in programs_for(chips(t))):
        for target in targets:
            if program in programs_for(chips(target)) and program not in PROGRAMS[TO_SCALE]:
                yield [program, target, *_figures(compiled(program, target), target)]


def _figures(found: Compiled, target: str) -> list[str]:
    number, chip = chips(target), CHIPS[target.split("x", 1)[1] if chips(target) > 1 else target]
    collectives = found.an_update(sum(found.counts.collectives.values()))
    sent = found.an_update(sum(found.counts.collective_bytes.values()))
    together = collectives and collectives * all_reduce_seconds(chip, number, sent / collectives)
    return [
        f"{found.an_update(found.counts.kernels + found.counts.library_calls):.1f}",
        f"{collectives:.0f}",
        f"{sent:,.0f}",
        _short(found.an_update(found.bytes) / 1e3),
        _short(found.an_update(found.flops) / 1e6),
        f"{found.memory.temp_size_in_bytes / 1e6:.1f}",
        f"{found.seconds:.1f}",
        _short((update_seconds(found, chip) + together) * 1e6),
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
    return _short((update_seconds(share, CHIPS[target]) + sent) * 1e6)


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


def _cpu_rows(cpu) -> Iterator[list[str]]:
    for row in this_cpu.rows(cpu):
        ratio = row.estimated / row.measured
        yield [row.program, _short(row.estimated), _short(row.measured), f"{ratio:.2f}"]


def _short(number: float) -> str:
    """A number to three figures, whole ones in full."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
