"""A table of a command's as a file, in the format that its name ends in; - is standard output."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgd.cli.settings import check_replaces_no_input, check_replaces_nothing, make_room, writable

SUFFIXES = (".csv", ".parquet", ".jsonl")
STDOUT = Path("-")


def check_table_file(out: Path, option: str, force: bool, *inputs: Path) -> None:
    """Raise unless a table may be put there: its name is one of a table, and nothing is replaced.

    ValueError for another suffix or an input, OSError for where nothing can be written or, unless
    it is to be replaced, something is.
    """
    if out == STDOUT:
        return
    check_replaces_no_input(writable(out), option, *inputs)
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"a table must be a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, or - for "
            f"standard output; got {str(out)!r}. Name another with {option}."
        )
    check_replaces_nothing(out, option, force)


def make_table_room(out: Path) -> None:
    """Raise OSError unless there is room for a file there."""
    if out != STDOUT:
        make_room(out)


def table_file(columns: Mapping[str, Any], path: Path) -> bytes:
    """The bytes of a table in the format that the file's name ends in, or else as CSV."""
    import polars

    frame, file = polars.DataFrame(columns), io.BytesIO()
    if path.suffix.lower() == ".parquet":
        frame.write_parquet(file)
    elif path.suffix.lower() == ".jsonl":
        frame.write_ndjson(file)
    else:
        frame.write_csv(file)
    return file.getvalue()


def put_table(out: Path, content: bytes) -> None:
    """Write a table's bytes to its file, whole or not at all, or to standard output."""
    from jaxgd.storage.verified_file import write_atomically

    if out == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    else:
        write_atomically(out, content)
