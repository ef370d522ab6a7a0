"""A table of which some columns or some rows are read, without keeping the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.tabular.bundled import breast_cancer
from jaxgd.tabular.csv_file import read_csv
from jaxgd.tabular.facts import Facts, facts_of, kind_of
from jaxgd.tabular.frames import Columns, Take, read_parquet
from jaxgd.tabular.reading import read_table
from jaxgd.tabular.table import Table

_CSV, _PARQUET = (".csv", ".tsv"), (".parquet", ".pq")


@dataclass(frozen=True)
class Sliced:
    """A table of n rows: its columns without rows, one column, or all columns of some rows.

    `facts` are those of all rows, of the named columns: but for columns of text, dates and missing
    values, which nobody learns from in this way, and whether whole numbers count the rows.
    """

    empty: Table
    n: int
    column: Callable[[str], Table]
    rows: Callable[[int, int], Table]
    facts: Callable[[Sequence[str]], dict[str, Facts]]


def sliced_table(path: Path | None) -> Sliced:
    """The table in a file, or the bundled one."""
    if path is None or not _is_sliceable(path) or path.stat().st_size == 0:
        return _of_table(breast_cancer() if path is None else read_table(path))
    source = str(path)

    def read(take: Take) -> Columns:
        if path.suffix.lower() in _CSV:
            return read_csv(path, source, take=take)
        return read_parquet(path, source, take)

    none = read(lambda _, frame: frame.limit(0).collect())
    counted = read(lambda pl, frame: frame.select(n=pl.len()).collect())
    if not (n := int(counted.read["n"][0])):
        raise ValueError(f"{source} has no rows. A table needs at least one row below its header.")
    empty = Table(none.read, source, unread=none.unread)

    def column(name: str) -> Table:
        empty.column(name)  # or it says what there is
        found = read(lambda pl, frame: frame.select(pl.nth(_place(frame, name))).collect())
        return Table(found.read, source)

    def rows(start: int, stop: int) -> Table:
        found = read(lambda _, frame: frame.slice(start, stop - start).collect())
        return replace(empty, columns=found.read, first=start)

    def facts(names: Sequence[str]) -> dict[str, Facts]:
        seen = read(lambda pl, frame: _extremes(pl, frame, names))
        return {name: _facts(name, seen.read, n) for name in names}

    return Sliced(empty, n, column, rows, facts)


def _place(frame: Any, name: str) -> int:
    """Where the column of that name is; a name may have had spaces around it."""
    names = [raw.strip() for raw in frame.collect_schema().names()]
    return names.index(name)


def _extremes(pl: Any, frame: Any, names: Sequence[str]) -> Any:
    """Of each column its least, its largest, and how many are missing; of each number distinct."""
    schema = frame.collect_schema()
    asked: list[Any] = []
    for raw, dtype in schema.items():
        name, column = raw.strip(), pl.col(raw)
        if name not in names:
            continue
        absent = column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()
        asked.append(absent.sum().alias(f"missing {name}"))
        if dtype.is_numeric() or dtype == pl.Boolean:
            asked += [column.min().alias(f"least {name}"), column.max().alias(f"most {name}")]
        if dtype.is_integer():
            asked.append(column.n_unique().alias(f"distinct {name}"))
    return frame.select(asked).collect(engine="streaming")


def _facts(name: str, seen: dict[str, np.ndarray], n: int) -> Facts:
    missing = int(seen[f"missing {name}"][0])
    if f"least {name}" not in seen:
        return Facts("category", missing)
    least, most = seen[f"least {name}"], seen[f"most {name}"]
    distinct = int(seen.get(f"distinct {name}", [0])[0]) == n - missing
    return Facts(kind_of(least), missing, bool(least[0] == most[0]), distinct)


def _of_table(table: Table) -> Sliced:
    """A table in memory, whose other rows are let go."""

    def part(start: int, stop: int) -> Table:
        cut = {name: column[start:stop] for name, column in table.columns.items()}
        return replace(table, columns=cut, first=start)

    def column(name: str) -> Table:
        return Table({name: table.column(name)}, table.source)

    def facts(names: Sequence[str]) -> dict[str, Facts]:
        return {name: facts_of(table.column(name)) for name in names}

    return Sliced(part(0, 0), len(table), column, part, facts)


def _is_sliceable(path: Path) -> bool:
    return path.suffix.lower() in (*_CSV, *_PARQUET)
