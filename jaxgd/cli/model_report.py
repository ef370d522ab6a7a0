"""What a saved model is: the columns it needs and what it makes of them, how it was trained."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jax
import numpy as np
from rich.table import Table as Grid

from jaxgd.cli.as_json import OwnNames
from jaxgd.cli.terminal import figure, numbers_table
from jaxgd.tabular import Column, Model
from jaxgd.tabular.linear_weights import coefficients
from jaxgd.tabular.table import listed

_MOST_LEVELS, _MOST_CLASSES, _MOST_FEATURES = 4, 8, 40


def n_params(model: Model) -> int:
    """How many numbers were trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(model.params))


def kind_of_model(model: Model) -> str:
    """What it is called."""
    hidden = model.predictor.hidden
    return f"MLP with hidden layers of {', '.join(map(str, hidden))}" if hidden else "linear model"


def training_told(training: Mapping[str, Any]) -> str:
    """How a model was trained, in one line, but for what was left out.

    What an estimator needs to be made again is long, and for it alone.
    """
    shown = {k: v for k, v in training.items() if v is not None and k != "estimator"}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def columns_table(model: Model) -> Grid:
    """The columns: what they are, what of them is a feature, what is done where a value is missing.

    And by which mean and scale they are standardised, if they are.
    """
    grid = Grid(box=numbers_table("").box, pad_edge=False, header_style="bold")
    for name in ("column", "kind", "levels", "missing values"):
        grid.add_column(name)
    for name in ("mean", "scale"):
        grid.add_column(name, justify="right")
    for column, scaling in zip(model.schema.columns, _scaling(model), strict=True):
        levels = [*column.levels, *(["(other)"] if column.other else [])]
        shown = listed(levels, _MOST_LEVELS).replace("'", "")
        amounts = ["–", "–"] if scaling is None else [*map(figure, scaling.values())]
        grid.add_row(column.name, column.kind, shown, missing_rule(column), *amounts)
    return grid


def missing_rule(column: Column) -> str:
    """What is done where a column has no value."""
    if column.kind == "category":
        if column.indicator:
            return "a level of their own"
        return "as (other)" if column.other else "as no level"
    if column.fill is None:
        return "refused"
    filled = f"{column.fill:.6g}"
    if column.kind == "date":
        filled = str(np.datetime64(int(column.fill // 1), "D"))
    return f"filled with {filled}{', and marked' if column.indicator else ''}"


def coefficients_table(model: Model) -> Grid | None:
    """The coefficients of the scaled features, largest first; None of another than a linear model.

    Of classes that are too many for a screen, and of features, the first.
    """
    found = coefficients(model)
    if found is None:
        return None
    names = found.outputs[:_MOST_CLASSES]
    title = "coefficient" if len(found.features) <= _MOST_FEATURES else "largest coefficients"
    grid = numbers_table(title, *(f"of {name}" for name in names))
    rows = zip(found.features, found.weights.tolist(), strict=True)
    for name, weights in islice(rows, _MOST_FEATURES):
        grid.add_row(name, *map(figure, weights[: len(names)]))
    grid.add_row("intercept", *map(figure, found.intercept.tolist()[: len(names)]))
    return grid


def model_as_json(model: Model) -> dict[str, Any]:
    """The whole of it for programs, but for the parameters of an MLP."""
    schema = model.schema
    told = {
        "task": schema.target.task,
        "target": schema.target.name,
        "classes": schema.target.classes,
        "id": schema.id,
        "columns": [
            column._asdict() | {"missing_values": missing_rule(column), "scaling": scaling}
            for column, scaling in zip(schema.columns, _scaling(model), strict=True)
        ],
        "hidden": model.predictor.hidden,
        "parameters": n_params(model),
        "training": dict(model.training),
    }
    found = coefficients(model)
    if found is None:
        return told
    rows = zip(found.features, found.weights.tolist(), strict=True)
    of = {name: OwnNames(zip(found.outputs, weights, strict=True)) for name, weights in rows}
    intercept = OwnNames(zip(found.outputs, found.intercept, strict=True))
    return told | {"coefficients": OwnNames(of), "intercept": intercept}


def _scaling(model: Model) -> Iterator[dict[str, float] | None]:
    """Of each column the mean and the scale of its amount; None where it is taken as it is."""
    scaling, first = model.schema.x_scaling, 0
    for column in model.schema.columns:
        mean, scale = scaling.mean[first], scaling.scale[first]
        is_scaled = column.measured[0] and (mean, scale) != (0, 1)
        yield {"mean": float(mean), "scale": float(scale)} if is_scaled else None
        first += len(column.features)
