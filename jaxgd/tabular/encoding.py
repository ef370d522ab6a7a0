"""How a column becomes features: numbers as they are, categories one-hot, dates in parts."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.tabular.facts import Kind, kind_of
from jaxgd.tabular.table import Table, missing_in

# A level must be seen in so many of the training rows, or in this part of them, to be a feature of
# its own; and no more levels than this are.
_LEAST_SEEN, _LEAST_SHARE, MOST_LEVELS = 10, 0.01, 100

_DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")
# Parts of a date, how many days they take to come again, and a day since 1970 on which one begins.
PARTS = {"time of year": (365.2425, 0), "weekday": (7, 4), "time of day": (1, 0)}

_HOLDS = {"number": "numbers", "boolean": "booleans", "category": "text", "date": "dates"}


class Column(NamedTuple):
    """One column of a table as features, by what its training rows hold.

    A category has a feature for each of its `levels`, and with `other` one for all others, seen in
    training or not. A date has its days and two features for each part in `levels`. A missing
    value is taken for `fill`, the median, in days since 1970 for a date; with `indicator` a feature
    tells that it was missing. None of `fill` refuses it, but in a category.
    """

    name: str
    kind: Kind = "number"
    levels: tuple[str, ...] = ()
    other: bool = False
    fill: float | None = None
    indicator: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        if self.kind == "category":
            names = [f"{self.name} = {level}" for level in self.levels]
            names += [f"{self.name} = (other)"] if self.other else []
        elif self.kind == "date":
            waves = (f"{self.name}, {part} ({f})" for part in self.levels for f in ("sin", "cos"))
            names = [f"{self.name}, days", *waves]
        else:
            names = [self.name]
        return (*names, *([f"{self.name} is missing"] if self.indicator else []))

    @property
    def measured(self) -> tuple[bool, ...]:
        """Which of its features are amounts, to be standardised; others are in [-1, 1] anyway."""
        first = self.kind != "category"
        return first, *[False] * (len(self.features) - 1)

    def encode(self, table: Table, out: Float[np.ndarray, "n k"]) -> None:
        """Put its features of a table's rows, unscaled, where there are zeros.

        Booleans are numbers, too, and a category's missing values are among its others where none
        was missing in training.

        Raises ValueError for a column that is missing, of another kind, infinite, or lacks numbers
        or dates where none was lacking in training.
        """
        column = table.finite(self.name)
        found = kind_of(column)
        if found not in (self.kind, None) and (self.kind, found) != ("number", "boolean"):
            raise ValueError(_other_kind(table, self, found))
        gone = missing_in(column)
        if self.fill is None and self.kind != "category":
            table.refuse(self.name, gone, "missing", "Fill or drop them, or ignore the column.")
        if self.kind == "category":
            self._mark_levels(column, out)
        elif self.kind == "date":
            days = column.astype("datetime64[us]").astype(np.float64) / _DAY
            _in_parts(np.where(gone, self.fill or 0.0, days), self.levels, out)
        else:
            out[:, 0] = self._filled(table, column, gone)
        if self.indicator:
            out[:, -1] = gone

    def _filled(self, table: Table, column: np.ndarray, gone: np.ndarray) -> np.ndarray:
        if not gone.any():
            return table.as_float(self.name, column)
        values = np.where(gone, np.nan, column).astype(np.float64)
        values[gone] = self.fill
        return values

    def _mark_levels(self, column: np.ndarray, out: np.ndarray) -> None:
        other = len(self.levels) if self.other else -1
        place: dict[str | None, int] = {level: i for i, level in enumerate(self.levels)}
        place[None] = -1 if self.indicator else other
        texts = (value if value is None else str(value) for value in column.tolist())
        at = np.fromiter((place.get(text, other) for text in texts), np.int64, len(column))
        rows = np.flatnonzero(at >= 0)
        out[rows, at[rows]] = 1.0


def fitted(name: str, kind: Kind, column: np.ndarray, any_missing: bool) -> Column:
    """The encoding of a column by its training rows; `any_missing` is of all rows."""
    gone = missing_in(column)
    indicator = bool(gone.any())
    present = column[~gone] if indicator else column
    if kind == "category":
        counts = Counter(map(str, present.tolist()))
        levels = frequent_levels(counts, len(column))
        return Column(name, kind, levels, len(levels) < len(counts), None, indicator)
    parts: tuple[str, ...] = ()
    if kind == "date":
        present = present.astype("datetime64[us]").astype(np.float64) / _DAY
        parts = tuple(PARTS) if np.any(np.mod(present, 1)) else tuple(PARTS)[:2]
    if not any_missing:
        return Column(name, kind, parts)
    fill = float(np.median(present.astype(np.float64))) if len(present) else 0.0
    return Column(name, kind, parts, False, fill, indicator)


def frequent_levels(counts: Counter[str], n: int) -> tuple[str, ...]:
    """The levels of n rows that are features of their own, sorted."""
    least = min(_LEAST_SEEN, _LEAST_SHARE * n)
    often = [level for level, count in counts.most_common(MOST_LEVELS) if count >= least]
    return tuple(sorted(often))


def _in_parts(days: np.ndarray, parts: Sequence[str], out: np.ndarray) -> None:
    """Days since 1970, and where in the year, the week and the day that is."""
    out[:, 0] = days
    for i, part in enumerate(parts):
        period, start = PARTS[part]
        angle = 2 * np.pi * np.mod((days - start) / period, 1.0)
        out[:, 1 + 2 * i], out[:, 2 + 2 * i] = np.sin(angle), np.cos(angle)


def _other_kind(table: Table, column: Column, found: Kind | None) -> str:
    """What to say of a column of another kind than in training."""
    first = ""
    if found == "category":
        values = table.column(column.name)
        row = next((i for i, v in enumerate(values) if isinstance(v, str) and not _fits(v)), 0)
        first = f", first {values[row]!r} in row {table.first + row + 1}"
    return (
        f"column {column.name!r} of {table.source} holds {_HOLDS[found or 'number']}{first}, where "
        f"the training table had {_HOLDS[column.kind]}. Make it the same kind."
    )


def _fits(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
