"""How well a model does, each figure with that of a constant prediction below it, and by class."""

from typing import Any

from rich.table import Table as Grid

from jaxgd.cli.as_json import OwnNames
from jaxgd.cli.terminal import figure, numbers_table
from jaxgd.tabular import Target
from jaxgd.tabular.metrics import ByClass

Measured = tuple[dict[str, float], dict[str, float], ByClass | None]

# Of more classes a table is no help on a screen.
_MOST_CLASSES, _MOST_PREDICTED = 30, 8


def measures_tables(target: Target, found: dict[str, Measured]) -> list[Grid]:
    """The measures of each part of the rows, and by class of the part that was held out, if any."""
    part, (figures, _, classes) = list(found.items())[-1]
    grid = numbers_table("", *figures)
    for name, (own, constant, _) in found.items():
        grid.add_row(name, *map(figure, own.values()))
        grid.add_row("  constant", *map(figure, constant.values()))
    if classes is None or len(target.classes) > _MOST_CLASSES:
        return [grid]
    return [grid, _by_class(target, part, classes)]


def measures_as_json(target: Target, found: dict[str, Measured]) -> dict[str, Any]:
    """The same for programs: measures and a constant's, part by part, and by class of the last."""
    told: dict[str, Any] = {
        "metrics": {name: own for name, (own, _, _) in found.items()},
        "baseline": {name: constant for name, (_, constant, _) in found.items()},
    }
    _, _, classes = list(found.values())[-1]
    if classes is not None:
        told["classes"] = OwnNames(
            {
                name: {
                    "rows": row.sum(),
                    "precision": precision,
                    "recall": recall,
                    "predicted": OwnNames(zip(target.classes, row, strict=True)),
                }
                for name, precision, recall, row in zip(target.classes, *classes, strict=True)
            }
        )
    return told


def _by_class(target: Target, part: str, classes: ByClass) -> Grid:
    names = target.classes if len(target.classes) <= _MOST_PREDICTED else ()
    predicted = [f"predicted {name}" for name in names]
    grid = numbers_table(part, "rows", "precision", "recall", *predicted)
    for i, name in enumerate(target.classes):
        counts = [str(count) for count in classes.confusion[i][: len(names)]]
        rows = str(classes.confusion[i].sum())
        grid.add_row(name, rows, figure(classes.precision[i]), figure(classes.recall[i]), *counts)
    return grid
