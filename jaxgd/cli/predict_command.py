"""`jaxgd predict`: a saved model applied to a table."""

import csv
import io
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from jaxgd.cli.settings import check_replaces_no_input, make_room, writable
from jaxgd.cli.terminal import console
from jaxgd.storage.verified_file import write_atomically
from jaxgd.tabular import Target, load_model, read_table


def predict(
    model: Positional[Path],
    data: Positional[Path],
    *,
    out: Path = Path("predictions.csv"),
) -> None:
    """Write a saved model's prediction for every row of a table, as CSV.

    A class and the probability of each, or a value. The table's columns are found by name, in any
    order; columns that the model does not know are ignored.

    Args:
        model: File that `jaxgd fit` saved.
        data: CSV, Parquet or NPZ file.
        out: Where the predictions go.
    """
    writable(out)
    check_replaces_no_input(out, "--out", model, data)
    loaded = load_model(model)
    table = read_table(data)
    make_room(out)
    target = loaded.schema.target
    write_atomically(out, _as_csv(target, loaded.predict(table)))
    console().print(f"{len(table)} predictions of {target.name}: {out}", soft_wrap=True)


def _as_csv(target: Target, predictions: np.ndarray) -> bytes:
    """A header and a row each: the class and every class's probability, or the value."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    if target.task == "regression":
        rows.writerow([target.name])
        rows.writerows([value] for value in predictions.tolist())
    else:
        rows.writerow([target.name, *(f"probability {name}" for name in target.classes)])
        best = predictions.argmax(axis=1)
        rows.writerows(
            [target.classes[i], *(f"{p:.6g}" for p in row)]
            for i, row in zip(best, predictions.tolist(), strict=True)
        )
    return text.getvalue().encode()
