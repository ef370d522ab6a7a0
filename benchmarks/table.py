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
    """The table of one case: the newest JAX's figures, and beside them those of the other."""
    case, versions = timings[0].case, list(dict.fromkeys(t.jax for t in timings))
    head = [f"peer (jax {versions[-1]})", f"least {case.unit}", "median", "× jaxgd", "first call s"]
    head.append("peak MB")
    for other in versions[:-1]:
        head += [f"jax {other}", "× jaxgd", "first call s"]
    found = {(t.peer, t.jax): t for t in timings}
    ours = {v: found["jaxgd", v].least if ("jaxgd", v) in found else math.nan for v in versions}
    lines = [f"## {case.name} ({case.group})", "", _line(head), "|---|" + "---:|" * (len(head) - 1)]
    for peer in dict.fromkeys(t.peer for t in timings):
        here = found[peer, versions[-1]]
        cells = [*_figures(here, ours), f"{here.median:.3g}" if here.costs else ""]
        cells = [cells[0], cells[3], *cells[1:3], f"{here.peak_mb:.0f}" if here.costs else ""]
        for other in versions[:-1]:
            cells += _figures(found[peer, other], ours)
        lines.append(_line([peer, *cells]))
    return "\n".join([*lines, ""])


def _figures(timing: Timing, ours: Mapping[str, float]) -> list[str]:
    """Least, its ratio to jaxgd's with the same JAX, first call; or why there are none."""
    if timing.note:
        return [timing.note, "", ""]
    ratio = timing.least / ours[timing.jax]
    return [f"{timing.least:.3g}", f"{ratio:.3g}", f"{timing.first_seconds:.2f}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def save(
    folder: Path, timings: Sequence[Timing], machine: Mapping[str, str], depth: Sequence[Mapping]
) -> None:
    """`table.md` and `table.json` in the folder."""
    (folder / "table.md").write_text(markdown(timings, machine, depth))
    report = {"machine": machine, "timings": [asdict(t) for t in timings], "depth": depth}
    (folder / "table.json").write_text(json.dumps(report, indent=1))


def _plain(rows: Sequence[Mapping]) -> list[str]:
    names = list(rows[0])
    body = ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names), *body]
