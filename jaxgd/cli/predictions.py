"""Predictions as a table: a class and the probability of each, or a value."""

import csv
import io
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from jaxgd.cli.table_files import table_file
from jaxgd.tabular import Target

_ROWS = 2**16  # that are made text at a time


Ids = tuple[str, np.ndarray] | None  # a column's name, and what it holds


def predictions_file(target: Target, predictions: np.ndarray, out: Path, ids: Ids = None) -> bytes:
    """The bytes of a file of predictions [n, k] or [n], a row each, in the format of its name.

    The ids stand first. Probabilities have six significant digits in a CSV, and all that they have
    elsewhere.
    """
    if out.suffix.lower() in (".parquet", ".jsonl"):
        first = {} if ids is None else dict([ids])
        return table_file(first | _columns(target, predictions), out)
    return b"".join(_as_csv(target, predictions, ids))


def _columns(target: Target, predictions: np.ndarray) -> dict[str, np.ndarray]:
    if target.task == "regression":
        return {target.name: predictions}
    classes = np.array(target.classes, object)[predictions.argmax(axis=1)]
    return {target.name: classes, **dict(zip(_probabilities(target), predictions.T, strict=True))}


def _as_csv(target: Target, predictions: np.ndarray, ids: Ids) -> Iterator[bytes]:
    """A header, and some rows at a time."""
    first = [] if ids is None else [ids[0]]
    before = repeat("") if ids is None else (_line([id])[:-1] + "," for id in ids[1].tolist())
    pieces = (predictions[i : i + _ROWS] for i in range(0, len(predictions), _ROWS))
    if target.task == "regression":
        yield _line([*first, target.name]).encode()
        for piece in pieces:
            rows = zip(islice(before, len(piece)), piece.tolist(), strict=True)
            yield "".join(f"{id}{value!r}\n" for id, value in rows).encode()
        return
    yield _line([*first, target.name, *_probabilities(target)]).encode()
    # One format a row, with the class as it is quoted: a format a cell takes four times as long.
    names = [_line([name, ""])[:-2] for name in target.classes]
    row = ",".join(["%s%s", *["%.6g"] * len(names)]) + "\n"
    for piece in pieces:
        best = map(names.__getitem__, piece.argmax(axis=1).tolist())
        cells = (column.tolist() for column in piece.T)
        begun = islice(before, len(piece))
        yield "".join(map(row.__mod__, zip(begun, best, *cells, strict=True))).encode()


def _probabilities(target: Target) -> list[str]:
    return [f"probability {name}" for name in target.classes]


def _line(fields: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()
