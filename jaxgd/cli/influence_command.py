"""`jaxgd influence`: which rows of a table help what is learned from it, and which harm."""

import math
import warnings
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.arguments import check_batch_size, check_count
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import beside, checked_files
from jaxgd.cli.settings import check_optimizer, check_seed
from jaxgd.cli.table_files import STDOUT, check_table_file, put_table, table_file


def influence(
    source: OmitArgPrefixes[DataOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: Annotated[float, arg(aliases=("--lr",))] = 0.05,
    batch_size: Annotated[int | None, arg(metavar="ROWS|all")] = 32,
    epochs: int = 20,
    seed: int = 0,
    retrain: int | None = None,
    top: int = 5,
    out: Path = Path("jaxgd-influence"),
    table: Path | None = None,
    force: bool = False,
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
        batch_size: Rows in a batch: all for gradient descent, 1 for SGD.
        epochs: How often every row is seen.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        retrain: Without how many rows to train again; by default all up to 2000, of more 256.
        top: How many rows to show at either end.
        out: Directory for the table.
        table: Where the table goes instead: a .csv, .parquet or .jsonl file, or - for standard
            output, where nothing else is said then.
        force: Replace a file that --table names and that is there.
        json: Print what was found as JSON.
    """
    optimizer = check_optimizer(optimizer, learning_rate)
    for name, count in (("epochs", epochs), ("top", top)):
        check_count(name, count)
    if batch_size is not None:
        check_batch_size(batch_size)
    for width in hidden:
        check_count("every width in hidden", width)
    if not source.held_out:
        raise ValueError("influence is on the held-out loss; got --held-out 0. Hold some rows out.")
    check_seed(seed)
    if table is not None:
        check_table_file(table, "--table", force, *source.files())
    read = source.table()

    from rich.console import Console

    from jaxgd.cli import influence_report as report
    from jaxgd.cli.as_json import print_json
    from jaxgd.cli.run_parts import keys, optimizer_named
    from jaxgd.cli.terminal import console, described, show_next
    from jaxgd.study import influence as influence_of
    from jaxgd.tabular import Predictor

    run_keys = keys(seed)
    dataset = source.prepare(read, run_keys.split)
    if batch_size is not None:
        batch_size = min(batch_size, len(dataset.train.y))
    again = {"out": beside(out)} | ({} if table is None else {"table": beside(table)})
    files = checked_files(out, {"table": "influence.csv"}, table, source.files())
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
            optimizer=optimizer_named(optimizer)(learning_rate),
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
    columns = report.columns_of(
        found, dataset.rows[0], schema.target, read.columns[schema.target.name]
    )
    put_table(files["table"], table_file(columns, files["table"]))
    if files["table"] == STDOUT:
        return
    options = {
        "hidden": hidden,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
    }
    commands = report.next_commands(found, source, options, again)
    if json:
        told = report.as_json(found, columns, top)
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
    for name, chosen in report.ends(found, top).items():
        screen.show(report.grid_of(name, columns, chosen))
    show_next(commands, files)
