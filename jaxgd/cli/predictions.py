"""Predictions as a table: a class and the probability of each, or a value."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxgd.cli.table_files import table_file
from jaxgd.tabular import Target

_ROWS = 2**16  # that are made text at a time


def predictions_file(target: Target, predictions: np.ndarray, out: Path) -> bytes:
    """The bytes of a file of predictions [n, k] or [n], a row each, in the format of its name.

    Probabilities have six significant digits in a CSV, and all that they have elsewhere.
    """
    if out.suffix.lower() in (".parquet", ".jsonl"):
        return table_file(_columns(target, predictions), out)
    return b"".join(_as_csv(target, predictions))


def _columns(target: Target, predictions: np.ndarray) -> dict[str, np.ndarray]:
    if target.task == "regression":
        return {target.name: predictions}
    classes = np.array(target.classes, object)[predictions.argmax(axis=1)]
    return {target.name: classes, **dict(zip(_probabilities(target), predictions.T, strict=True))}


def _as_csv(target: Target, predictions: np.ndarray) -> Iterator[bytes]:
    """A header, and some rows at a time."""
    pieces = (predictions[i : i + _ROWS] for i in range(0, len(predictions), _ROWS))
    if target.task == "regression":
        yield _line([target.name])
        for piece in pieces:
            yield "".join(f"{value!r}\n" for value in piece.tolist()).encode()
        return
    yield _line([target.name, *_probabilities(target)])
    # One format a row, with the class as it is quoted: a format a cell takes four times as long.
    names = [_line([name, ""]).decode()[:-2] for name in target.classes]
    row = ",".join(["%s", *["%.6g"] * len(names)]) + "\n"
    for piece in pieces:
        best = map(names.__getitem__, piece.argmax(axis=1).tolist())
        cells = (column.tolist() for column in piece.T)
        yield "".join(map(row.__mod__, zip(best, *cells, strict=True))).encode()


def _probabilities(target: Target) -> list[str]:
    return [f"probability {name}" for name in target.classes]


def _line(fields: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()
