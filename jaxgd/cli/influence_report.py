"""What `jaxgd influence` has found: as a table, for JSON, and the commands to run next."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as Grid

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.following import command
from jaxgd.cli.terminal import numbers_table
from jaxgd.study import Influence
from jaxgd.study.influences import LEAST_CORRELATION
from jaxgd.tabular import Target


def ends(found: Influence, top: int) -> dict[str, np.ndarray]:
    """The rows at either end, none of them of the wrong sign."""
    harmful, helpful = found.harmful(top), found.helpful(top)
    return {
        "most harmful": harmful[found.foretold[harmful] < 0],
        "most helpful": helpful[found.foretold[helpful] > 0],
    }


def columns_of(
    found: Influence, rows: np.ndarray, target: Target, values: np.ndarray
) -> dict[str, list]:
    """Row numbers of the table from 1, targets, and both figures; None where none was measured."""
    measured: list[float | None] = [None] * len(rows)
    for row, change in zip(found.retrained.tolist(), found.measured.tolist(), strict=True):
        measured[row] = change
    return {
        "row": (1 + rows).tolist(),
        _apart(target.name): values[rows].tolist(),
        "foretold": found.foretold.tolist(),
        "measured": measured,
    }


def _apart(name: str) -> str:
    """The target's name, unless one of our own columns bears it."""
    return f"{name} (target)" if name in ("row", "foretold", "measured") else name


def grid_of(name: str, columns: dict[str, list], chosen: np.ndarray) -> Grid:
    """Some of the rows, and what was found of them."""
    grid = numbers_table(name, *columns)
    for place, i in enumerate(chosen.tolist(), 1):
        row, target, foretold, measured = (values[i] for values in columns.values())
        change = "–" if measured is None else f"{measured:+.3g}"
        grid.add_row(str(place), str(row), str(target), f"{foretold:+.3g}", change)
    return grid


def as_json(found: Influence, columns: dict[str, list], top: int) -> dict[str, Any]:
    """What was found, for JSON."""
    at_the_ends = {
        name: [{column: values[i] for column, values in columns.items()} for i in chosen.tolist()]
        for name, chosen in ends(found, top).items()
    }
    return {
        "rank_correlation": found.correlation,
        "trainings_without_a_row": found.measured.size,
        "rows": found.foretold.size,
        "held_out_loss": found.value,
        **at_the_ends,
        "levels": found.levels,
        "held_bytes": found.held_bytes,
        "remarks": found.remarks,
    }


def next_commands(
    found: Influence, source: DataOptions, options: dict[str, Any], again: dict[str, Path]
) -> dict[str, str]:
    """The fit that these are the figures of, or figures to believe."""
    if found.correlation >= LEAST_CORRELATION:
        return {"train it": command("fit", source, options)}
    gentler = {"learning_rate": options["learning_rate"] / 2, "epochs": 2 * options["epochs"]}
    return {"more gently": command("influence", source, {**options, **gentler, **again})}
