"""Tables in lines of text: their encoding, their separator, and the types of their columns."""

import codecs
import csv
import io
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxgd.tabular.extras import extra
from jaxgd.tabular.facts import Kind
from jaxgd.tabular.frames import (
    TYPES_FROM,
    Columns,
    Take,
    as_dates,
    opened,
    refused,
    typed_columns,
)
from jaxgd.tabular.npz_file import two_columns

# What people write into a cell that has no value; an empty cell is one anyway.
_MISSING_WORDS = ["NA", "N/A", "NaN", "nan", "null", "NULL", "?"]

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_LIKE_A_NUMBER = r"^[+-]?[\d.,]+([eE][+-]?\d+)?$|^[+-]?inf"
_LEADING_ZERO = r"^[+-]?0\d"
_DECIMAL_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$"
_MAY_BE_THOUSANDS = r"^[+-]?[1-9]\d{0,2},\d{3}$"

_SAMPLE, _HEAD, _ZSTD = 1000, 2**16, b"\x28\xb5\x2f\xfd"


class _Form(NamedTuple):
    """How a file is written: what is between its cells, its comments, and its header's cells."""

    separator: str
    comment: str | None
    header: list[str]


def read_csv(
    content: Path | bytes,
    source: str,
    *,
    encoding: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    take: Take | None = None,
) -> Columns:
    """The columns of a CSV, or of what `take(polars, lazy frame)` takes of it.

    Numbers, booleans and dates where every cell is one, else text; whole numbers with zeros before
    them are text, for they are codes. `kinds` tells what a column is where that is known.
    """
    pl = extra("polars")
    kinds = kinds or {}
    content = _in_utf8(content, source, encoding)
    form = _form_of(content)
    names = [name.strip() or _unnamed(i, form.header) for i, name in enumerate(form.header)]
    seen = set[str]()
    for name in names:
        if name in seen:
            raise two_columns(source, name)
        seen.add(name)
    options: dict[str, Any] = {
        "separator": form.separator,
        "comment_prefix": form.comment,
        "null_values": _MISSING_WORDS,
    }
    with refused(source, "CSV", lambda: _ragged_line(content, form)):
        try:
            theirs = pl.read_csv(opened(content), **options, n_rows=0).columns
            raw = dict(zip(names, theirs, strict=False))
            texts = [raw[name] for name in raw if kinds.get(name) in ("category", "date")]
            options["schema_overrides"] = dict.fromkeys(texts, pl.String)
            frame = _taken(pl, content, options, raw, take)
        except pl.exceptions.PolarsError as error:
            if encoding is not None or "utf-8" not in str(error).lower():
                raise
            _warn_latin_1(source)
            return read_csv(content, source, encoding="latin-1", kinds=kinds, take=take)
        numbers = {name for name in raw if kinds.get(name) == "number"}
        codes = _with_leading_zeros(pl, content, options, frame, raw, numbers)
        if codes:
            options["schema_overrides"] |= dict.fromkeys(codes, pl.String)
            frame = _taken(pl, content, options, raw, take)
    parsed = (_parsed(pl, series, kinds.get(series.name), form.separator) for series in frame)
    return typed_columns(parsed, source)


def _warn_latin_1(source: str) -> None:
    warnings.warn(
        f"{source} is not UTF-8 and is read as latin-1. Name its encoding if that is wrong.",
        stacklevel=5,
    )


def _taken(
    pl: Any,
    content: Path | bytes,
    options: dict[str, Any],
    raw: Mapping[str, str],
    take: Take | None,
) -> Any:
    """The frame, its types found from its first rows, or from all where that fails."""
    names = {theirs: name for name, theirs in raw.items()}
    for rows in (TYPES_FROM, None):
        found = options | {"infer_schema_length": rows}
        try:
            if take is None:
                return pl.read_csv(opened(content), **found).rename(names)
            return take(pl, pl.scan_csv(opened(content), **found).rename(names))
        except pl.exceptions.PolarsError:
            if rows is None:
                raise
    raise AssertionError("one of the two returns or raises")


def _with_leading_zeros(
    pl: Any,
    content: Path | bytes,
    options: dict[str, Any],
    frame: Any,
    raw: Mapping[str, str],
    numbers: Collection[str],
) -> list[str]:
    """Columns of whole numbers some of which are written with zeros before them, by polars' names.

    Columns that are known to be numbers are none.
    """
    whole = [
        raw[series.name]
        for series in frame
        if series.name in raw and series.name not in numbers and series.dtype.is_integer()
    ]
    if not whole or not frame.height:
        return []
    as_text = pl.scan_csv(opened(content), **options, infer_schema=False)
    has = pl.col(whole).str.strip_chars().str.contains(_LEADING_ZERO).any()
    found = as_text.select(has).collect().row(0, named=True)
    return [name for name, is_code in found.items() if is_code]


def _parsed(pl: Any, series: Any, kind: Kind | None, separator: str) -> Any:
    """A series of text as numbers or dates where every text of it is one; else stripped."""
    if series.dtype != pl.String:
        return series
    text = series.str.strip_chars()
    if kind == "category":
        return text
    sample = text.drop_nulls().head(_SAMPLE)
    if not len(sample):
        return text
    codes = kind != "number" and text.str.contains(_LEADING_ZERO + r"\d*$").any()
    if not codes and sample.str.contains(_LIKE_A_NUMBER).all():
        commas = text.filter(text.str.contains(",", literal=True))
        plain = _without_commas(text, commas, separator) if len(commas) else text
        number = None if plain is None else _as_numbers(pl, plain)
        if number is not None:
            return number
    return as_dates(pl, text)


def _without_commas(text: Any, commas: Any, separator: str) -> Any | None:
    """Numbers with a decimal comma, or with commas between thousands, as others are written.

    None where 1,234 may be either, and where 12,5 stands beside 1.234; between semicolons commas
    are decimal.
    """
    if commas.str.contains(_DECIMAL_COMMA).all():
        points = text.str.contains(".", literal=True).any()
        told = separator == ";" or not commas.str.contains(_MAY_BE_THOUSANDS).all()
        return text.str.replace(",", ".", literal=True) if told and not points else None
    if commas.str.contains(_THOUSANDS).all() and separator != ";":
        return text.str.replace_all(",", "", literal=True)
    return None


def _as_numbers(pl: Any, text: Any) -> Any | None:
    """The texts as whole numbers or others; None where one is no number."""
    for number in (pl.Int64, pl.Float64):
        parsed = text.cast(number, strict=False)
        if parsed.null_count() == text.null_count():
            return parsed
    return None


def _in_utf8(content: Path | bytes, source: str, encoding: str | None) -> Path | bytes:
    """The content, decoded by its encoding or its mark where that is not UTF-8."""
    start = content[:_HEAD] if isinstance(content, bytes) else _raw(content, _HEAD)
    encoding = encoding or _BYTE_ORDER_MARKS.get(start[:2])
    if encoding is None and not start.startswith(_ZSTD):
        if b"\0" in start:
            raise ValueError(
                f"{source} is not a readable CSV table: it holds bytes that no text has."
            )
        if not _may_be_utf8(start):
            _warn_latin_1(source)
            encoding = "latin-1"
    if encoding is None or encoding.lower().replace("-", "") == "utf8":
        return content
    if start.startswith(_ZSTD):
        raise ValueError(f"{source} must be in UTF-8 where it is a .zst; unpack it first.")
    whole = content if isinstance(content, bytes) else content.read_bytes()
    try:
        return whole.decode(encoding).encode()
    except LookupError:
        raise ValueError(f"an encoding must be one of Python's; got {encoding!r}.") from None
    except UnicodeDecodeError:
        raise ValueError(
            f"{source} is not a readable CSV table: it is not {encoding}. Name its encoding."
        ) from None


def _may_be_utf8(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _form_of(content: Path | bytes) -> _Form:
    """How the file is written, by its first lines."""
    lines, comments, size = [""], 0, _HEAD
    while comments + 1 >= len(lines):  # the header may be longer than that
        start = content[:size] if isinstance(content, bytes) else _first_bytes(content, size)
        lines = start.decode("utf-8-sig", errors="replace").splitlines()
        comments = next((i for i, line in enumerate(lines) if line[:1] != "#"), len(lines))
        if len(start) < size:
            break
        size *= 8
    if comments and comments < len(lines):
        last, first = lines[comments - 1], lines[comments]
        sep = _separator(first)
        if last.count(sep) == first.count(sep) > 0 and comments == 1:
            comments = 0  # a header that begins with a number sign
    header = lines[comments] if comments < len(lines) else ""
    separator = _separator(header)
    rows = csv.reader(lines[comments:], delimiter=separator)
    try:
        cells = next(rows, [])
    except csv.Error:
        cells = []
    return _Form(separator, "#" if comments else None, cells)


def _separator(header: str) -> str:
    """What stands most often between the header's cells, outside of quotes."""
    bare = "".join(header.split('"')[::2])
    return max(",;\t", key=bare.count)


def _first_bytes(path: Path, size: int) -> bytes:
    """The first bytes of a file, of what is packed in it where it is compressed."""
    start = _raw(path, size)
    if start.startswith(_ZSTD):
        pl = extra("polars")
        try:
            lines = pl.read_csv(
                path, has_header=False, separator="\x01", quote_char=None, n_rows=20,
                infer_schema=False, truncate_ragged_lines=True,
            )  # fmt: skip
        except OSError as error:  # of the packing
            raise ValueError(f"{path} is not a readable CSV table: {error}.") from None
        return "\n".join(line or "" for line in lines[:, 0]).encode()[:size]
    return start


def _raw(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _unnamed(place: int, header: list[str]) -> str:
    """The name of a column without one."""
    alone = sum(not name.strip() for name in header) == 1
    return "unnamed" if alone else f"unnamed {place + 1}"


def _ragged_line(content: Path | bytes, form: _Form) -> str | None:
    """Which line of a CSV has more fields than its header, if one has."""
    file = opened(content)
    if isinstance(file, Path) and _raw(file, len(_ZSTD)) == _ZSTD:
        return None
    raw = file.open("rb") if isinstance(file, Path) else file
    with io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="") as text:
        lines = csv.reader(text, delimiter=form.separator)
        try:
            for fields in lines:
                if fields and form.comment and fields[0].startswith(form.comment):
                    continue
                if len(fields) > len(form.header):
                    return (
                        f"line {lines.line_num} has {len(fields)} fields, the header "
                        f"{len(form.header)}"
                    )
        except csv.Error:
            return None
    return None
