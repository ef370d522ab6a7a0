"""A table of which each of several processes reads its own rows, made ready to train on.

Each reads the header and the whole target column, draws the split of all rows, and reads of the
features the rows that it is to hold.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from jaxgd.tabular.choosing import choose
from jaxgd.tabular.dataset import (
    Account,
    Apart,
    Part,
    check_classes,
    imbalance,
    labels,
    possible_features,
)
from jaxgd.tabular.encoding import Column
from jaxgd.tabular.scaling import Standardizer, standardizer, unscaled
from jaxgd.tabular.schema import Schema, in_default_float
from jaxgd.tabular.sliced import Sliced, sliced_table
from jaxgd.tabular.splitting import split
from jaxgd.tabular.target import Target, Task, read_target, target_name


class OwnPart(NamedTuple):
    """A process's rows of the training or the held-out part, and all targets of the whole part.

    `rows` are the whole part's numbers in the table.
    """

    own: Part
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    rows: Int[np.ndarray, "n"]


class OwnRows(NamedTuple):
    """What a process has read: its rows' features, all targets, and the numbers of the parts.

    Of the training part and the held-out one, if there is one, `parts` are all rows in the table,
    and `own` this process's; the features begin with row `first`.
    """

    source: str
    columns: tuple[Column, ...]
    target: Target
    x: Float[np.ndarray, "m d"]
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    parts: list[Int[np.ndarray, "part"]]
    own: list[Int[np.ndarray, "own"]]
    first: int
    account: Account
    id: str | None = None

    @property
    def to_train_on(self) -> Float[np.ndarray, "own d"]:
        """The features of its training rows, unscaled."""
        return self.x[self.own[0] - self.first]

    def prepared(self, x_scaling: Standardizer | None) -> tuple[Schema, list[OwnPart]]:
        """The schema and the parts, as `prepare` makes them, or unscaled for None."""
        y_scaling = unscaled()
        if x_scaling is not None and self.target.task == "regression":
            y_scaling = standardizer(self.y[self.parts[0]])
        x_scaling = unscaled(len(self.columns)) if x_scaling is None else x_scaling
        schema = Schema(self.columns, self.target, x_scaling, y_scaling, self.id)

        def part(rows: np.ndarray, own: np.ndarray) -> OwnPart:
            scaled = in_default_float(x_scaling.apply(self.x[own - self.first]))
            whole = labels(schema, self.y[rows])
            return OwnPart(Part(scaled, labels(schema, self.y[own])), whole, rows)

        parts = [*map(part, self.parts, self.own)]
        check_classes(self.target, parts[0].y)
        return schema, parts


def read_own(
    path: Path | None,
    own: Callable[[int], Int[np.ndarray, "own"]],
    *,
    key: PRNGKeyArray | UInt32[Array, "2"],
    target: str | None = None,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    id: str | None = None,
    held_out: float | int = 0.2,
) -> OwnRows:
    """Those rows of a table that this process holds: of n, the numbers `own(n)`, ascending.

    Features are numbers and booleans that are all there: the levels of a text, a median and what is
    missing are of all rows, which no process holds.

    Of Parquet those row groups are read that hold them; a CSV's text is gone through, for its types
    and to find them, and the others are not kept; an NPZ is read whole.

    Raises what `read_table` and `prepare` raise, and ValueError for other features than these.
    """
    table = sliced_table(path)
    name = target_name(table.empty) if target is None else target
    goal, y, reason = read_target(table.column(name), name, task)
    names = possible_features(table.empty, goal, Apart(tuple(ignore), id))
    facts = table.facts([name for name in names if name not in table.empty.unread])
    choice = choose(table.empty, names, facts.__getitem__)
    for name, kind in choice.kinds.items():
        if kind not in ("number", "boolean") or name in choice.missing:
            _refuse(table, name)
    classes = None if goal.task == "regression" else y
    parts = [rows for rows in split(key, table.n, held_out, classes=classes) if len(rows)]
    mine = [rows[own(len(rows))] for rows in parts]
    start, stop = min(rows[0] for rows in mine), max(rows[-1] for rows in mine) + 1
    columns = tuple(Column(name, kind) for name, kind in choice.kinds.items())
    x = table.rows(int(start), int(stop)).matrix(tuple(choice.kinds))
    account = Account(reason, choice.dropped, (*choice.remarks, *imbalance(goal, y)))
    return OwnRows(table.empty.source, columns, goal, x, y, parts, mine, int(start), account, id)


def _refuse(table: Sliced, name: str) -> None:
    """ValueError for a feature that one process alone cannot make: text, dates, missing values."""
    try:
        table.column(name).numbers(name)
    except ValueError as error:
        raise ValueError(f"{error} One process alone would encode it, or fill it in.") from None
