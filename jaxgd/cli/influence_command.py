"""`jaxgd influence`: which rows of a table help what is learned from it, and which harm."""

import math
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.as_json import print_json
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import beside, checked_files
from jaxgd.cli.following import command
from jaxgd.cli.settings import keys, optimizer_named
from jaxgd.cli.table_files import table_file
from jaxgd.cli.terminal import console, described, numbers_table, show_next
from jaxgd.inputs import check_batch_size, check_count
from jaxgd.storage.verified_file import write_atomically
from jaxgd.study import Influence
from jaxgd.study import influence as influence_of
from jaxgd.study.influences import LEAST_CORRELATION
from jaxgd.tabular import Predictor, Target
from jaxgd.tabular.dataset import split


def influence(
    source: OmitArgPrefixes[DataOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: float = 0.05,
    batch_size: int | None = 32,
    epochs: int = 20,
    seed: int = 0,
    retrain: int | None = None,
    top: int = 5,
    out: Path = Path("jaxgd-influence"),
    table: Path | None = None,
    json: bool = False,
) -> None:
    """Tell which rows help and which harm, by what leaving each out does to the held-out loss.

    It is foretold for all training rows by one derivative through the training that `jaxgd fit`
    makes with these options, and measured by making it again without a row; the rank correlation
    of the two says how far to believe what is foretold. Writes every training row's influence
    (influence.csv).

    Args:
        source: What to learn from what.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate.
        batch_size: Rows in a batch: None for gradient descent, 1 for SGD.
        epochs: How often every row is seen.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        retrain: Without how many rows to train again; by default all up to 2000, of more 256.
        top: How many rows to show at either end.
        out: Directory for the table.
        table: Where the table goes instead: CSV, or Parquet by a name that ends in .parquet.
        json: Print what was found as JSON.
    """
    transformation = optimizer_named(optimizer, learning_rate)(learning_rate)
    for name, count in (("epochs", epochs), ("top", top)):
        check_count(name, count)
    if batch_size is not None:
        check_batch_size(batch_size)
    for width in hidden:
        check_count("every width in hidden", width)
    if not source.held_out:
        raise ValueError("influence is on the held-out loss; got --held-out 0. Hold some rows out.")
    run_keys = keys(seed)
    read = source.table()
    dataset = source.prepare(read, run_keys.split)
    again = {"out": beside(out)} | ({} if table is None else {"table": beside(table)})
    files = checked_files(out, {"table": "influence.csv"}, table, source.data)
    schema = dataset.schema
    predictor = Predictor(len(schema.features), schema.target, hidden)
    with (
        Console(stderr=True).status("training with every row, and again without each"),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # told below
    ):
        found = influence_of(
            predictor.loss,
            predictor.init(run_keys.init),
            dataset.train,
            optimizer=transformation,
            epochs=epochs,
            batch_size=batch_size,
            key=run_keys.order,
            validation=dataset.held_out,
            retrain=retrain,
        )
    if not math.isfinite(found.value):
        raise FloatingPointError(found.remarks[0])
    for remark in found.remarks:
        warnings.warn(remark, stacklevel=1)
    rows, _ = split(run_keys.split, len(read), source.held_out)
    columns = _columns(found, rows, schema.target, read.columns[schema.target.name])
    write_atomically(files["table"], table_file(columns, files["table"]))
    options = {
        "hidden": hidden,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
    }
    commands = _next_commands(found, source, options, again)
    if json:
        told = _as_json(found, columns, top)
        print_json(told, judged_by="held-out loss", commands=commands, files=files)
        return
    screen = console()
    screen.print(described(read.source, dataset), soft_wrap=True)
    screen.print(
        f"rank correlation of foretold with measured: {found.correlation:.3f}, of "
        f"{found.measured.size} trainings without a row\n"
        f"held-out loss with every row: {found.value:.4g}; without one it changes by:",
        soft_wrap=True,
    )
    for name, chosen in _ends(found, top).items():
        screen.show(_grid(name, columns, chosen))
    show_next(commands, files)


def _ends(found: Influence, top: int) -> dict[str, np.ndarray]:
    """The rows at either end, none of them of the wrong sign."""
    harmful, helpful = found.harmful(top), found.helpful(top)
    return {
        "most harmful": harmful[found.foretold[harmful] < 0],
        "most helpful": helpful[found.foretold[helpful] > 0],
    }


def _columns(
    found: Influence, rows: np.ndarray, target: Target, values: np.ndarray
) -> dict[str, list]:
    """Row numbers of the table from 1, targets, and both figures; None where none was measured."""
    measured: list[float | None] = [None] * len(rows)
    for row, change in zip(found.retrained.tolist(), found.measured.tolist(), strict=True):
        measured[row] = change
    return {
        "row": (1 + rows).tolist(),
        _apart(target.name): values[rows].tolist(),
        "foretold": found.foretold.tolist(),
        "measured": measured,
    }


def _apart(name: str) -> str:
    """The target's name, unless one of our own columns bears it."""
    return f"{name} (target)" if name in ("row", "foretold", "measured") else name


def _grid(name: str, columns: dict[str, list], chosen: np.ndarray) -> Grid:
    grid = numbers_table(name, *columns)
    for place, i in enumerate(chosen.tolist(), 1):
        row, target, foretold, measured = (values[i] for values in columns.values())
        change = "–" if measured is None else f"{measured:+.3g}"
        grid.add_row(str(place), str(row), str(target), f"{foretold:+.3g}", change)
    return grid


def _as_json(found: Influence, columns: dict[str, list], top: int) -> dict[str, Any]:
    """What was found, for JSON."""
    ends = {
        name: [{column: values[i] for column, values in columns.items()} for i in chosen.tolist()]
        for name, chosen in _ends(found, top).items()
    }
    return {
        "rank_correlation": found.correlation,
        "trainings_without_a_row": found.measured.size,
        "rows": found.foretold.size,
        "held_out_loss": found.value,
        **ends,
        "levels": found.levels,
        "held_bytes": found.held_bytes,
        "remarks": found.remarks,
    }


def _next_commands(
    found: Influence, source: DataOptions, options: dict[str, Any], again: dict[str, Path]
) -> dict[str, str]:
    """The fit that these are the figures of, or figures to believe."""
    if found.correlation >= LEAST_CORRELATION:
        return {"train it": command("fit", source, options)}
    gentler = {"learning_rate": options["learning_rate"] / 2, "epochs": 2 * options["epochs"]}
    return {"more gently": command("influence", source, {**options, **gentler, **again})}
