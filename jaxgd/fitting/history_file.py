"""A history on disk as it happens: a line of JSON after every segment."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from jaxgd.fitting.progress import Progressed
from jaxgd.storage.verified_file import write_atomically

HISTORY = "history.jsonl"


def jsonl(path: Path | str) -> Callable[[Progressed], None]:
    """A progress callback that appends a line to a file after each segment, and hands it over.

    `{"epoch": 3, "update": 0, "loss": 0.21, "validation_loss": 0.25}`: epochs and updates done, the
    mean loss of the epoch so far, and null where there is none. A line is in the system's hands
    before the next segment runs, so a killed process loses none; with a
    checkpoint it is on the disk before that is. A run that goes on takes away what
    the file holds from its own first position on, and a torn last line: after any number of kills
    it is, byte for byte, that of a run that was never interrupted.
    """
    path, begun = Path(path), False

    def write(now: Progressed) -> None:
        nonlocal begun
        if not begun:
            _cut(path, (now.epoch, now.update))
            begun = True
        line = {
            "epoch": now.epoch,
            "update": now.update,
            "loss": _number(now.loss),
            "validation_loss": _number(now.validation_loss),
        }
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    return write


def _cut(path: Path, first: tuple[int, int]) -> None:
    """Take away all but the lines before a position."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if _lies_before(line, first)]
    if len(kept) < len(lines):
        write_atomically(path, b"".join(kept))


def _lies_before(line: bytes, first: tuple[int, int]) -> bool:
    try:
        entry = json.loads(line) if line.endswith(b"\n") else {}
        return (entry["epoch"], entry["update"]) < first
    except (ValueError, KeyError, TypeError):
        return False


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
