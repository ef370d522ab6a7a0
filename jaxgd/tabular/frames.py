"""Tables that polars reads with their types, as NumPy columns."""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgd.tabular.extras import extra
from jaxgd.tabular.npz_file import two_columns
from jaxgd.tabular.table import warn_rounded

# Of a polars module and its lazy frame of a file, the frame of what is read of it.
Take = Callable[[Any, Any], Any]

# From so many rows types are found, and from all only where that fails.
TYPES_FROM = 10_000

# Dates as text, of one order whoever writes them. A day and a month around slashes are of two.
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S%.f",
          "T%H:%M:%SZ", "T%H:%M:%S%.fZ")  # fmt: skip
_LIKE_A_DATE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"

_SAMPLE = 200


class Columns(NamedTuple):
    """The columns that were read, and what the others are."""

    read: dict[str, np.ndarray]
    unread: dict[str, str]


def read_parquet(content: Path | bytes, source: str, take: Take | None = None) -> Columns:
    """The columns of a Parquet file, or of what `take(polars, lazy frame)` takes of it."""
    pl = extra("polars")
    with refused(source, "Parquet"):
        if take is None:
            frame = pl.read_parquet(opened(content))
        else:
            frame = take(pl, pl.scan_parquet(opened(content)))
    return typed_columns(frame, source)


def read_arrow(content: Path | bytes, source: str) -> Columns:
    """The columns of an Arrow file or stream (Feather is such a file)."""
    pl = extra("polars")
    with refused(source, "Arrow"):
        try:
            frame = pl.read_ipc(opened(content))
        except pl.exceptions.PolarsError:
            frame = pl.read_ipc_stream(opened(content))
    return typed_columns(frame, source)


def read_jsonl(content: Path | bytes, source: str) -> Columns:
    """The columns of a file with a JSON object on each line; dates as text are dates there."""
    pl = extra("polars")
    with refused(source, "JSON-lines"):
        try:
            frame = pl.read_ndjson(opened(content), infer_schema_length=TYPES_FROM)
        except pl.exceptions.PolarsError:
            frame = pl.read_ndjson(opened(content), infer_schema_length=None)
    return typed_columns(frame.with_columns(as_dates(pl, series) for series in frame), source)


def opened(content: Path | bytes) -> Path | io.BytesIO:
    """What polars takes."""
    return io.BytesIO(content) if isinstance(content, bytes) else content


@contextmanager
def refused(source: str, kind: str, reason: Callable[[], str | None] = lambda: None) -> Iterator:
    """Errors of polars as ours, with a reason that may be better known."""
    pl = extra("polars")
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        first = re.sub(r"\s+", " ", str(error).strip().split("\n")[0]).rstrip(".")
        told = reason() or first
        raise ValueError(f"{source} is not a readable {kind} table: {told}.") from None


def typed_columns(frame: Iterable[Any], source: str) -> Columns:
    """The columns of a polars frame, or series, as their types say."""
    columns = Columns({}, {})
    for series in frame:
        name = series.name.strip()
        if name in columns.read or name in columns.unread:
            raise two_columns(source, name)
        column = _array(series, source)
        if column is None:
            columns.unread[name] = str(series.dtype)
        else:
            columns.read[name] = column
    return columns


def as_dates(pl: Any, series: Any) -> Any:
    """A series of text as dates, where every text of it is one; else as it is."""
    if series.dtype != pl.String:
        return series
    sample = series.drop_nulls().head(_SAMPLE)
    if not len(sample) or not sample.str.contains(_LIKE_A_DATE).all():
        return series
    for form in (date + time for date in _DATES for time in _TIMES):
        if sample.str.to_datetime(form, strict=False).null_count() == 0:
            parsed = series.str.to_datetime(form, strict=False, time_unit="us")
            if parsed.null_count() == series.null_count():
                return parsed
    return series


def _array(series: Any, source: str) -> np.ndarray | None:
    """A column as NumPy has it; None for one that is nothing to us."""
    pl = extra("polars")
    if str(series.dtype) in ("Int128", "UInt128"):  # which NumPy has not
        warn_rounded(series.name, source)
        series = series.cast(pl.Float64)
    if series.dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_numeric():
        return series.to_numpy()
    if series.dtype in (pl.Date, pl.Datetime):
        return series.cast(pl.Datetime("us")).to_numpy()
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return np.array(series.cast(pl.String).to_list(), dtype=object)
    if series.dtype in (pl.Boolean, pl.Null):
        if series.null_count():
            return np.array(series.to_list(), dtype=object)
        return series.to_numpy()
    return None
