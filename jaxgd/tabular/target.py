"""The column to predict: what kind of target it is, why, and its classes."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from jaxgd.arguments import Task as Task
from jaxgd.tabular.facts import Kind, kind_of
from jaxgd.tabular.table import Table, is_amount, listed

# Names by which a table may say itself what is to be predicted.
_USUAL_NAMES = ("target", "label", "class", "y")

# So few different whole numbers are classes. More are amounts, unless they run from 0 or 1 without
# a gap, up to so many: then they may be either, and only the user knows.
_FEW, _MANY = 20, 100

# So few texts are classes in the smallest table.
_HANDFUL = 5

# A class must be seen so often on average, where some are seen once or where there are many.
_SEEN = 5


class Target(NamedTuple):
    """A column to predict. Class i is named `classes[i]`; a regression has none."""

    name: str
    task: Task
    classes: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, Kind]:
        """As what its column is to be read: as text where the name of a class is not a number."""
        plain = all(is_amount(name) or name in ("True", "False") for name in self.classes)
        return {} if plain else {self.name: "category"}


class ReadTarget(NamedTuple):
    """A target, its values (class indices, int32, or numbers, float64), and why it is that task."""

    target: Target
    y: np.ndarray
    reason: str


def read_target(table: Table, name: str | None = None, task: Task | None = None) -> ReadTarget:
    """The target of a table.

    Two different values are a binary target; other text, and few whole numbers, are classes; other
    numbers are a regression. `task` overrides that. Classes are sorted.

    Raises ValueError for a column that is not there, not complete, has one value only, does not
    fit the task, or may as well be of another task.
    """
    name = target_name(table) if name is None else name
    column = table.complete(name)
    if column.dtype.kind == "M":
        raise ValueError(
            f"a target must be numbers, booleans or text; column {name!r} of {table.source} holds "
            "dates. Encode it as numbers."
        )
    values, index, counts = different(column)
    if len(values) == 1:
        raise ValueError(
            f"a target must have at least two different values; column {name!r} of {table.source} "
            f"holds only {values[0]!s}."
        )
    if task is None:
        task, reason = _found_task(table, name, column, values, counts)
    else:
        reason = "as told"
    _check_fit(task, name, column, values)
    if task == "regression":
        return ReadTarget(Target(name, task), column.astype(np.float64), reason)
    classes = tuple(map(_class_name, values))
    return ReadTarget(Target(name, task, classes), index.astype(np.int32), reason)


def known_values(table: Table, target: Target) -> np.ndarray:
    """The values of a target that a model knows: indices of its classes, int32, or float64.

    Raises ValueError for a column that is not there or not complete, and for one that holds a class
    that the model does not know, or text in the place of numbers.
    """
    column = table.complete(target.name)
    values, index, _ = different(column)
    if target.task == "regression":
        if column.dtype == object or column.dtype.kind == "M":
            raise ValueError(
                f"the model predicts numbers; column {target.name!r} of {table.source} holds "
                f"others, such as {values[0]!s}. Name a table that has the target."
            )
        return column.astype(np.float64)
    names = list(map(_class_name, values))
    unknown = [name for name in names if name not in target.classes]
    if unknown:
        raise ValueError(
            f"column {target.name!r} of {table.source} holds {listed(unknown)}, of which the model "
            f"knows nothing; its classes are {listed(target.classes)}. Drop those rows."
        )
    return np.array([target.classes.index(name) for name in names], np.int32)[index]


def target_name(table: Table) -> str:
    """The column to predict where nobody names one; ValueError where a table does not tell."""
    usual = [name for name in _USUAL_NAMES if name in table.columns]
    if table.target is not None:
        return table.target
    if len(usual) == 1:
        return usual[0]
    raise ValueError(
        f"the target column of {table.source} must be named. Its columns are {listed(table.names)}."
    )


def different(column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different values, sorted; the place there of every row's; and how often each is seen."""
    if column.dtype != object or kind_of(column) == "boolean":
        whole = column.astype(bool) if column.dtype == object else column
        return np.unique(whole, return_inverse=True, return_counts=True)
    texts = list(map(str, column.tolist()))
    counts = Counter(texts)
    values = sorted(counts)
    place = {value: i for i, value in enumerate(values)}
    index = np.fromiter(map(place.__getitem__, texts), np.int64, len(texts))
    return np.array(values, object), index, np.array([counts[value] for value in values])


def _class_name(value: Any) -> str:
    """The value in full, so that two values never share a name; a whole float without its .0."""
    is_whole = isinstance(value, np.floating) and value == np.rint(value)
    return str(int(value)) if is_whole else str(value)


def _found_task(
    table: Table, name: str, column: np.ndarray, values: np.ndarray, counts: np.ndarray
) -> tuple[Task, str]:
    k, n = len(values), len(column)
    if k == 2:
        return "binary", "it has two different values"
    if column.dtype == object:
        _check_texts(table, name, column, values)
        return "multiclass", f"it holds {k} different texts"
    if not np.all(values == np.rint(values)):
        return "regression", "it holds numbers that are not whole"
    once = int(np.sum(counts == 1))
    if k <= _FEW and (once == 0 or n >= _SEEN * k):
        seen = f", {once} of them seen once" if once else ""
        return "multiclass", f"it holds {k} different whole numbers{seen}"
    runs = values[0] in (0, 1) and values[-1] - values[0] == k - 1
    if k > _FEW and k <= _MANY and runs and n >= 2 * k:
        raise ValueError(
            f"column {name!r} of {table.source} holds the {k} whole numbers from {values[0]:g} to "
            f"{values[-1]:g}, which may be classes or amounts. "
            "Use the task multiclass or regression."
        )
    return "regression", f"it holds {k} different whole numbers in {n} rows"


def _check_texts(table: Table, name: str, column: np.ndarray, values: np.ndarray) -> None:
    """ValueError for texts that are hardly classes: numbers but for a few, or too many."""
    k, n = len(values), len(column)
    numbers = sum(map(is_amount, values))
    told = f"column {name!r} of {table.source}"
    seldom = n < _SEEN * k
    if (k > _FEW or (k > _HANDFUL and seldom)) and 2 * numbers >= k:
        if numbers == k:
            raise ValueError(
                f"{told} holds numbers as text, such as {values[0]!r}. Save it as numbers, or use "
                "the task multiclass."
            )
        row = next(i for i, text in enumerate(column) if not is_amount(text))
        few = f"all but {k - numbers} of its {k} different values"
        raise ValueError(
            f"{told} holds text, first {column[row]!r} in row {table.first + row + 1}, where "
            f"{few} are numbers. Correct or drop those rows, or use the task multiclass."
        )
    if (k > _FEW and seldom) or (k > _HANDFUL and n < 2 * k):
        raise ValueError(
            f"{told} holds {k} different texts in {n} rows, too many for classes. "
            "Name another target, or use the task multiclass."
        )


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
        text = next((value for value in values if not is_amount(value)), values[0])
        raise ValueError(
            f"a regression target must be numbers; column {name!r} holds text such as "
            f"{text!r}. Use the task binary or multiclass."
        )
