"""The files that a study's command writes: pictures in a folder, and a table there or elsewhere."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from jaxgd.cli.settings import check_replaces_no_input, writable
from jaxgd.cli.table_files import make_table_room


def checked_files(
    out: Path, names: Mapping[str, str], table: Path | None, inputs: Sequence[Path]
) -> dict[str, Path]:
    """Where each of these goes, its folder made: in `out`, but the table where it is asked to be.

    What is in `out` under these names is a former report, and is made anew; a table elsewhere has
    passed `check_table_file` before.

    Raises ValueError or OSError for an input in one's place, and for what cannot be written.
    """
    files = {what: out / name for what, name in names.items()}
    for path in files.values():
        check_replaces_no_input(writable(path), "--out or --table", *inputs)
    if table is not None:
        files["table"] = table
    for path in files.values():
        make_table_room(path)
    return files


def beside(path: Path) -> Path:
    """The path with the first number from 2 on that nothing bears yet: out, out-2, out-3, …"""
    numbered = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count(2))
    return next(other for other in numbered if not other.exists())
