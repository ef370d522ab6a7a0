"""A table: named columns of one length, and what they may hold."""

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

# Whole numbers up to here are float64's own.
_EXACT = 2.0**53


@dataclass(frozen=True)
class Table:
    """Columns by name, in their order: arrays of numbers, booleans, dates, or text (dtype object).

    A missing value is NaN in a column of numbers, NaT in one of dates, and None in one of text or,
    of dtype object too, of booleans. `source` names the table in errors; `target` is the column to
    predict where the source itself says so. Of a part of a table `first` is the number of its first
    row in the whole. `unread` are columns that are nothing of this, such as lists, and what they
    are.
    """

    columns: Mapping[str, np.ndarray]
    source: str
    target: str | None = None
    first: int = 0
    unread: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return (*self.columns, *self.unread)

    def column(self, name: str) -> np.ndarray:
        """The column of that name; ValueError names the nearest if there is none."""
        if name in self.columns:
            return self.columns[name]
        if name in self.unread:
            raise ValueError(
                f"a column must be numbers, booleans, dates or text; column {name!r} of "
                f"{self.source} is {self.unread[name]}. Convert it first."
            )
        raise self.no_column(name)

    def no_column(self, name: str) -> ValueError:
        """The error that there is no column of that name, with the nearest."""
        in_lower_case = {known.lower(): known for known in self.names}
        nearest = difflib.get_close_matches(name.lower(), in_lower_case, n=1)
        hint = f"; the nearest is {in_lower_case[nearest[0]]!r}" if nearest else ""
        return ValueError(
            f"{self.source} has no column {name!r}{hint}. Its columns are {listed(self.names)}."
        )

    def complete(self, name: str) -> np.ndarray:
        """The column of that name, every value present and finite; else a ValueError."""
        column = self.finite(name)
        self.refuse(name, missing_in(column), "missing", "Fill or drop them, or ignore the column.")
        return column

    def finite(self, name: str) -> np.ndarray:
        """The column of that name, no value infinite; else a ValueError."""
        column = self.column(name)
        if column.dtype.kind == "f":
            remedy = "Fill or drop them, or ignore the column."
            self.refuse(name, np.isinf(column), "infinite", remedy)
        return column

    def numbers(self, name: str) -> np.ndarray:
        """The column of that name as float64; ValueError if it is text, dates or not complete."""
        column = self.complete(name)
        if column.dtype == object and not all(isinstance(value, bool) for value in column):
            row = next((i for i, value in enumerate(column) if not is_number(value)), 0)
            raise ValueError(
                f"a feature must be numbers; column {name!r} of {self.source} holds text, first "
                f"{column[row]!r} in row {self.first + row + 1}. Encode it as numbers, or ignore "
                "the column."
            )
        if column.dtype.kind == "M":
            raise ValueError(
                f"a feature must be numbers; column {name!r} of {self.source} holds dates. "
                "Encode it as numbers, or ignore the column."
            )
        return self.as_float(name, column)

    def as_float(self, name: str, column: np.ndarray) -> Float[np.ndarray, "n"]:
        """The column of that name in float64; whole numbers that are rounded are warned of."""
        if column.dtype.kind in "iu" and (abs(column.astype(np.float64)) > _EXACT).any():
            warn_rounded(name, self.source)
        return column.astype(np.float64)

    def matrix(self, names: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """The named columns side by side, in that order, as float64.

        Raises ValueError for no columns and for one that is missing, not complete or text.
        """
        if not names:
            raise ValueError(
                f"a table needs at least one feature beside its target; {self.source}."
            )
        return np.column_stack([self.numbers(name) for name in names])

    def refuse(self, name: str, bad: Bool[np.ndarray, "n"], what: str, remedy: str) -> None:
        """ValueError if some values are bad: how many, what they are, and where the first is."""
        count = int(bad.sum())
        if count:
            values = "value" if count == 1 else "values"
            raise ValueError(
                f"column {name!r} of {self.source} has {count} {what} {values}, first in row "
                f"{self.first + int(bad.argmax()) + 1}. {remedy}"
            )


def missing_in(column: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Which values of a column are missing."""
    if column.dtype == object:
        return np.array([value is None for value in column], bool)
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.isnat(column) if column.dtype.kind == "M" else np.zeros(len(column), bool)


def warn_rounded(name: str, source: object) -> None:
    """Warn that whole numbers of a column do not fit float64."""
    warnings.warn(
        f"column {name!r} of {source} holds whole numbers beyond 2**53, which are rounded to 53 "
        "bits. If they only name rows, ignore the column.",
        stacklevel=5,
    )


def is_number(text: Any) -> bool:
    """Whether a cell is a number in a table, too: 1_000 is one in Python alone."""
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return "_" not in str(text)


def is_amount(text: Any) -> bool:
    """Whether a text is a number, and no code: those may have zeros before them."""
    digits = str(text).lstrip("+-")
    return is_number(text) and not (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit())


def listed(names: Iterable[str], most: int = 8) -> str:
    """The names in quotes, the first few if there are many."""
    quoted = [repr(name) for name in names]
    more = [f"… ({len(quoted)} in all)"] if len(quoted) > most else []
    return ", ".join(quoted[:most] + more)
