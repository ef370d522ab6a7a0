"""The files that a study's command writes: pictures in a folder, and a table there or elsewhere."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from jaxgd.cli.settings import check_replaces_no_input, make_room, writable


def checked_files(
    out: Path, names: Mapping[str, str], table: Path | None, data: Path | None
) -> dict[str, Path]:
    """Where each of these goes, its folder made: in `out`, but the table where it is asked to be.

    Raises ValueError or OSError for a table of another kind, for one of the data in its place, and
    for what cannot be written.
    """
    files = {what: out / name for what, name in names.items()}
    if table is not None:
        files["table"] = table
    if files["table"].suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(
            f"the table must be a .csv or .parquet file; got {files['table']}. "
            "Name another with --table."
        )
    for path in files.values():
        writable(path)
        if data is not None:
            check_replaces_no_input(path, "--out or --table", data)
    for path in files.values():
        make_room(path)
    return files


def beside(path: Path) -> Path:
    """The path with the first number from 2 on that nothing bears yet: out, out-2, out-3, …"""
    numbered = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count(2))
    return next(other for other in numbered if not other.exists())
