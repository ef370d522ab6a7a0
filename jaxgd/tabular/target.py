"""The column to predict: what kind of target it is, and its classes."""

from typing import Any, NamedTuple

import numpy as np

from jaxgd.arguments import Task as Task
from jaxgd.tabular.table import Table, listed

# Names by which a table may say itself what is to be predicted.
_USUAL_NAMES = ("target", "label", "class", "y")

# Whole numbers are taken for classes if there are few of them, each seen at least twice.
_MOST_INTEGER_CLASSES = 20


class Target(NamedTuple):
    """A column to predict. Class i is named `classes[i]`; a regression has none."""

    name: str
    task: Task
    classes: tuple[str, ...] = ()


def read_target(
    table: Table, name: str | None = None, task: Task | None = None
) -> tuple[Target, np.ndarray]:
    """The target of a table, and its values: class indices (int32) or numbers (float64).

    Two different values, or booleans, are a binary target; other text, and few whole numbers, are
    classes; other numbers are a regression. `task` overrides that. Classes are sorted.

    Raises ValueError for a column that is not there, not complete, has one value only, or does not
    fit the task.
    """
    name = target_name(table) if name is None else name
    column = table.complete(name)
    values, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    if len(values) == 1:
        raise ValueError(
            f"a target must have at least two different values; column {name!r} of {table.source} "
            f"holds only {values[0]!s}."
        )
    task = _found_task(column, values, counts) if task is None else task
    _check_fit(task, name, column, values)
    if task == "regression":
        return Target(name, task), column.astype(np.float64)
    return Target(name, task, tuple(map(_class_name, values))), index.astype(np.int32)


def _class_name(value: Any) -> str:
    """The value in full, so that two values never share a name; a whole float without its .0."""
    is_whole = isinstance(value, np.floating) and value == np.rint(value)
    return str(int(value)) if is_whole else str(value)


def target_name(table: Table) -> str:
    """The column to predict where nobody names one; ValueError where a table does not tell."""
    usual = [name for name in _USUAL_NAMES if name in table.columns]
    if table.target is not None:
        return table.target
    if len(usual) == 1:
        return usual[0]
    raise ValueError(
        f"the target column of {table.source} must be named. "
        f"Its columns are {listed(table.columns)}."
    )


def _found_task(column: np.ndarray, values: np.ndarray, counts: np.ndarray) -> Task:
    if len(values) == 2:
        return "binary"
    few = len(values) <= _MOST_INTEGER_CLASSES and bool(np.all(counts >= 2))
    if column.dtype == object or (column.dtype.kind in "iu" and few):
        return "multiclass"
    return "regression"


def _check_fit(task: Task, name: str, column: np.ndarray, values: np.ndarray) -> None:
    given = f"column {name!r} has {len(values)} different values"
    if task == "binary" and len(values) != 2:
        raise ValueError(
            f"a binary target must have two different values; {given}. "
            "Use the task multiclass or regression."
        )
    if task == "multiclass" and column.dtype.kind == "f" and np.any(values != np.rint(values)):
        raise ValueError(
            f"classes must be text, booleans or whole numbers; {given} such as "
            f"{values[values != np.rint(values)][0]:g}. Use the task regression."
        )
    if task == "regression" and column.dtype == object:
        raise ValueError(
            f"a regression target must be numbers; column {name!r} holds text such as "
            f"{values[0]!r}. Use the task binary or multiclass."
        )
