"""Timings as Markdown and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from benchmarks.targets import reached
from benchmarks.timing import Timing


def markdown(
    timings: Sequence[Timing], machine: Mapping[str, str], depth: Sequence[Mapping]
) -> str:
    """A table a case: least and median cost, the least over jaxgd's, first call, peak memory."""
    lines = ["# Benchmarks", "", "; ".join(f"{k} {v}" for k, v in machine.items()), ""]
    if rows := reached(timings):
        lines += ["## Targets", "", *_plain(rows), ""]
    lines += [section(list(group)) for _, group in groupby(timings, key=lambda t: t.case)]
    if depth:
        lines += ["## Dependent steps an epoch of per-example SGD", "", *_plain(depth), ""]
    return "\n".join(lines)


def section(timings: Sequence[Timing]) -> str:
    """The table of one case."""
    case = timings[0].case
    ours = next((timing.least for timing in timings if timing.peer == "jaxgd"), math.nan)
    lines = [
        f"## {case.name} ({case.group})",
        "",
        f"| peer | least {case.unit} | median | × jaxgd | first call s | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
        *(_row(timing, ours) for timing in timings),
        "",
    ]
    return "\n".join(lines)


def save(
    folder: Path, timings: Sequence[Timing], machine: Mapping[str, str], depth: Sequence[Mapping]
) -> None:
    """`table.md` and `table.json` in the folder."""
    (folder / "table.md").write_text(markdown(timings, machine, depth))
    report = {"machine": machine, "timings": [asdict(t) for t in timings], "depth": depth}
    (folder / "table.json").write_text(json.dumps(report, indent=1))


def _row(timing: Timing, ours: float) -> str:
    if timing.note:
        return f"| {timing.peer} | {timing.note} | | | | |"
    figures = (timing.least, timing.median, timing.least / ours)
    cells = [*(f"{figure:.3g}" for figure in figures)]
    cells += [f"{timing.first_seconds:.2f}", f"{timing.peak_mb:.0f}"]
    return f"| {timing.peer} | " + " | ".join(cells) + " |"


def _plain(rows: Sequence[Mapping]) -> list[str]:
    names = list(rows[0])
    body = ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names), *body]
