"""A table of which each of several processes reads its own rows, made ready to train on.

Each reads the header and the whole target column, draws the split of all rows, and reads of the
features the rows that it is to hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from jaxgd.tabular.dataset import Part, check_classes, labels, split
from jaxgd.tabular.scaling import Standardizer, standardizer, unscaled
from jaxgd.tabular.schema import Schema, in_default_float
from jaxgd.tabular.table import Table, breast_cancer, is_sliceable, read_sliced, read_table
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
    features: tuple[str, ...]
    target: Target
    x: Float[np.ndarray, "m d"]
    y: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    parts: list[Int[np.ndarray, "part"]]
    own: list[Int[np.ndarray, "own"]]
    first: int

    @property
    def to_train_on(self) -> Float[np.ndarray, "own d"]:
        """The features of its training rows, unscaled."""
        return self.x[self.own[0] - self.first]

    def prepared(self, x_scaling: Standardizer | None) -> tuple[Schema, list[OwnPart]]:
        """The schema and the parts, as `prepare` makes them, or unscaled for None."""
        y_scaling = unscaled()
        if x_scaling is not None and self.target.task == "regression":
            y_scaling = standardizer(self.y[self.parts[0]])
        x_scaling = unscaled(len(self.features)) if x_scaling is None else x_scaling
        schema = Schema(self.features, self.target, x_scaling, y_scaling)

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
    held_out: float | int = 0.2,
) -> OwnRows:
    """Those rows of a table that this process holds: of n, the numbers `own(n)`, ascending.

    Of Parquet those row groups are read that hold them; a CSV's text is gone through, for its types
    and to find them, and the others are not kept; an NPZ is read whole.

    Raises what `read_table` and `prepare` raise, of a process's own rows there alone.
    """
    table = _Sliced.of(path)
    for name in ignore:
        table.empty.column(name)
    name = target_name(table.empty) if target is None else target
    goal, y = read_target(table.column(name), name, task)
    features = tuple(name for name in table.empty.columns if name not in (goal.name, *ignore))
    parts = [rows for rows in split(key, table.n, held_out) if len(rows)]
    mine = [rows[own(len(rows))] for rows in parts]
    start, stop = min(rows[0] for rows in mine), max(rows[-1] for rows in mine) + 1
    x = table.rows(int(start), int(stop)).matrix(features)
    return OwnRows(table.empty.source, features, goal, x, y, parts, mine, int(start))


@dataclass(frozen=True)
class _Sliced:
    """A table of n rows: its columns without rows, one column, or all columns of some rows."""

    empty: Table
    n: int
    column: Callable[[str], Table]
    rows: Callable[[int, int], Table]

    @classmethod
    def of(cls, path: Path | None) -> "_Sliced":
        """The table in a file, or the bundled one."""
        if path is None or not is_sliceable(path) or path.stat().st_size == 0:
            return cls._of_table(breast_cancer() if path is None else read_table(path))
        empty = read_sliced(path, lambda _, frame: frame.limit(0).collect())
        names, source = [*empty], str(path)
        counted = read_sliced(path, lambda pl, frame: frame.select(n=pl.len()).collect())
        if not (n := int(counted["n"][0])):
            raise ValueError(
                f"{path} has no rows. A table needs at least one row below its header."
            )

        def column(name: str) -> Table:
            Table(empty, source).column(name)  # or it says what there is
            at = names.index(name)
            found = read_sliced(path, lambda pl, frame: frame.select(pl.nth(at)).collect())
            return Table(found, source)

        def rows(start: int, stop: int) -> Table:
            m = stop - start
            found = read_sliced(path, lambda _, frame: frame.slice(start, m).collect())
            return Table(found, source, first=start)

        return cls(Table(empty, source), n, column, rows)

    @classmethod
    def _of_table(cls, table: Table) -> "_Sliced":
        """A table in memory, whose other rows are let go."""

        def part(start: int, stop: int) -> Table:
            cut = {name: column[start:stop] for name, column in table.columns.items()}
            return Table(cut, table.source, table.target, start)

        return cls(
            part(0, 0),
            len(table),
            lambda name: Table({name: table.column(name)}, table.source),
            part,
        )
