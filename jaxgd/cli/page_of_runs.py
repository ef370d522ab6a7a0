"""The page of some runs: which settings differ, how well each does, their curves together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jaxgd.cli.page_of_a_run import (
    judged_after,
    loss_lines,
    measures_names,
    measures_rows,
    setting_told,
)
from jaxgd.figures.html_page import page, table
from jaxgd.figures.svg_charts import curves

if TYPE_CHECKING:
    from jaxgd.cli.run_directory import Run

_MOST_CURVES = 6  # that dashes and colours tell apart


def runs_page(runs: Sequence["Run"]) -> str:
    """The page; runs whose directories are of one name are numbered."""
    often = Counter(run.name for run in runs)
    seen: Counter[str] = Counter()
    named = {}
    for run in runs:
        seen[run.name] += 1
        named[f"{run.name} ({seen[run.name]})" if often[run.name] > 1 else run.name] = run
    parts = [*_differences(named), *_measures(named), *_curves(named)]
    return page(f"{len(runs)} runs", parts, wide=True)


def _differences(runs: dict[str, "Run"]) -> Iterator[str]:
    yield "<h2>What differs</h2>"
    sides = [run.settings | run.made for run in runs.values()]
    names = dict.fromkeys(name for side in sides for name in side)
    rows = []
    for name in names:
        told = [setting_told(side[name]) if name in side else "–" for side in sides]
        if len(set(told)) > 1 and name != "date":
            rows.append([name, *told])
    if rows:
        yield table("Settings, versions and data that differ", ["", *runs], rows, names=99)
    else:
        yield "<p>Nothing: their settings, versions and data are the same.</p>"


def _measures(runs: dict[str, "Run"]) -> Iterator[str]:
    yield "<h2>How well they predict</h2>"
    by_names: dict[tuple[str, ...], dict[str, Run]] = {}
    for name, run in runs.items():
        by_names.setdefault(tuple(measures_names(run.metrics)), {})[name] = run
    for names, alike in by_names.items():
        rows = [[n, *cells] for n, run in alike.items() for cells in measures_rows(run.metrics)]
        yield table("Measures, and those of a constant", ["run", "rows", *names], rows, names=2)


def _curves(runs: dict[str, "Run"]) -> Iterator[str]:
    yield "<h2>How they went</h2>"
    for part in (*dict.fromkeys(map(judged_after, runs.values())), "training"):
        lines = {
            name: points
            for name, run in runs.items()
            if (points := loss_lines({name: run}).get(part))
        }
        if not lines:
            continue
        ends = "; ".join(f"{name} ends with {p[-1][1]:.4g}" for name, p in lines.items())
        some = dict(list(lines.items())[:_MOST_CURVES])
        svg = curves(some, "epochs", f"loss: {part}", f"Losses over epochs, {part}: {ends}.")
        rows = [
            [name, len(points), f"{min(v for _, v in points):.4g}", f"{points[-1][1]:.4g}"]
            for name, points in lines.items()
        ]
        numbers = table(f"Loss: {part}", ["run", "epochs", "lowest", "last"], rows)
        yield f'<div class="pair"><figure>{svg}</figure>{numbers}</div>'
