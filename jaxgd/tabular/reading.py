"""Tables from files, by the ends of their names, and from standard input, by how they begin."""

import gzip
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

from jaxgd.tabular.csv_file import read_csv
from jaxgd.tabular.facts import Kind
from jaxgd.tabular.frames import Columns, read_arrow, read_jsonl, read_parquet
from jaxgd.tabular.npz_file import read_npz
from jaxgd.tabular.table import Table

_READABLE = ".csv, .tsv, .parquet, .arrow, .feather, .jsonl or .npz"

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npz": "npz",
}
_BEGINNINGS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"PK\x03\x04": "npz", b"{": "jsonl"}
_GZIP = b"\x1f\x8b"


def read_table(
    path: Path,
    *,
    encoding: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Table:
    """The table in a CSV, Parquet, Arrow, JSON-lines or NPZ file; `-` is standard input.

    A CSV has a header; commas, semicolons or tabs between its cells; it may be in UTF-16 or, by its
    `encoding`, any other; text lines may be compressed (.gz, and a CSV .zst). Of an NPZ every 1-D
    array is a column of its name, and of a 2-D array `x` column j is named `xj`. Nothing is ever
    unpickled. Columns of a CSV are read as the `kinds` that a model was trained on, see
    `Schema.kinds`: text that looks like numbers in this file stays text.

    Raises ValueError for a file that is empty, ragged or no table; OSError if it cannot be read.
    """
    if str(path) == "-":
        source, content = "standard input", sys.stdin.buffer.read()
        format = _format_of(content)
    else:
        source, suffix = str(path), _inner_suffix(path)
        if suffix not in _FORMATS:
            raise ValueError(f"a table must be a {_READABLE} file; got {source!r}.")
        format = _FORMATS[suffix]
        if path.stat().st_size == 0:
            raise _empty(source)
        content = path.read_bytes() if path.suffix.lower() == ".gz" else path
    if isinstance(content, bytes) and content.startswith(_GZIP):
        content = _unpacked(content, source)
        format = format if format != "packed" else _format_of(content)
    if content == b"":
        raise _empty(source)
    match format:
        case "parquet":
            columns = read_parquet(content, source)
        case "arrow":
            columns = read_arrow(content, source)
        case "jsonl":
            columns = read_jsonl(content, source)
        case "npz":
            columns = Columns(read_npz(content, source), {})
        case _:
            columns = read_csv(content, source, encoding=encoding, kinds=kinds or {})
    target = "y" if format == "npz" and "y" in columns.read else None
    table = Table(columns.read, source, target, unread=columns.unread)
    if len(table) == 0:
        raise ValueError(f"{source} has no rows. A table needs at least one row below its header.")
    return table


def _inner_suffix(path: Path) -> str:
    """The end of the name that says what a file holds, without that of its compression."""
    packed = path.suffix.lower()
    if packed not in (".gz", ".zst"):
        return packed
    inner = Path(path.stem).suffix.lower()
    may_be_packed = _FORMATS.get(inner) == "csv" or packed == ".gz"
    return inner if may_be_packed else packed


def _format_of(content: bytes) -> str:
    if content.startswith(_GZIP):
        return "packed"
    start = content[:64].lstrip()
    return next((kind for magic, kind in _BEGINNINGS.items() if start.startswith(magic)), "csv")


def _unpacked(content: bytes, source: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{source} is not a readable gzip file: {error}.") from None


def _empty(source: str) -> ValueError:
    return ValueError(f"{source} is empty. A table needs a header and rows.")
