"""Tables that are given as they are in memory: data frames, and dicts of columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgd.tabular.facts import Kind
from jaxgd.tabular.frames import typed_columns
from jaxgd.tabular.table import Table

_SOURCE = "the table"


def table_of(given: Any, kinds: Mapping[str, Kind]) -> Table:
    """The table of a data frame of polars or pandas, or of a dict of columns; of the `kinds` alone.

    None, and pandas' own missing values, are missing; so is NaN among numbers and text.

    Raises TypeError for what is no table, ValueError for columns that are not of one length.
    """
    if hasattr(given, "get_columns"):  # polars
        wanted = [series for series in given.get_columns() if series.name in kinds]
        return Table(typed_columns(wanted, _SOURCE).read, _SOURCE)
    if not (isinstance(given, Mapping) or hasattr(given, "iloc")):
        raise TypeError(
            "a table must be a file's path, a data frame of pandas or polars, or a dict of "
            f"columns; got a {type(given).__name__}. Use {{name: values}}."
        )
    columns = {str(name): _values(given[name]) for name in given if str(name) in kinds}
    if len({len(column) for column in columns.values()}) > 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise ValueError(f"columns must have one length; got {lengths}.")
    return Table(columns, _SOURCE)


def _values(column: Any) -> np.ndarray:
    """A column as tables have it: numbers, booleans, dates, or objects with None for missing."""
    gone = np.asarray(column.isna()) if hasattr(column, "isna") else None
    values = np.asarray(column)
    if values.dtype.kind == "U" and not hasattr(column, "dtype"):
        values = np.array(list(column), object)  # a NaN among texts has become one
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype.kind not in "OUT":
        return values
    values = values.astype(object)
    if gone is None:
        gone = np.array([value is None or value != value for value in values], bool)
    present = values[~gone].tolist()
    if present and all(_is_number(value) for value in present):
        numbers = np.full(len(values), np.nan)
        numbers[~gone] = present
        return numbers
    if present and all(hasattr(value, "isoformat") for value in present):
        dates = np.full(len(values), np.datetime64("NaT", "us"))
        dates[~gone] = np.array(present, "datetime64[us]")
        return dates
    values[gone] = None
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)
