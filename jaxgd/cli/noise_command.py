"""`jaxgd noise`: what a mini-batch gradient of a table is worth, and which batch size follows."""

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.arguments import check_batch_size, check_count
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import checked_files
from jaxgd.cli.settings import check_optimizer, check_seed
from jaxgd.cli.table_files import STDOUT, check_table_file, put_table, table_file


def noise(
    source: OmitArgPrefixes[DataOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: Annotated[float, arg(aliases=("--lr",))] = 0.05,
    batch_size: int = 32,
    epochs: int = 20,
    critical: bool = True,
    seed: int = 0,
    out: Path = Path("jaxgd-noise"),
    table: Path | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Measure the noise of mini-batch gradients, and the batch size up to which larger ones pay.

    Trains as `jaxgd fit` does; measures the noise scale of every epoch from two batch sizes, and of
    single rows after the first and the last; and finds the critical batch size by runs that branch
    after the first epoch and go as far as 16 updates of the largest size. Writes batch-scatter.png,
    critical-batch-size.png and the numbers of each epoch (noise.csv).

    Args:
        source: What to learn from what.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate of the training; the runs look for their own from there.
        batch_size: Rows in a batch, at least 2.
        epochs: How often the training sees every row, at least 2.
        critical: Find the critical batch size by training, too.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        out: Directory for the pictures and the table.
        table: Where the table goes instead: a .csv, .parquet or .jsonl file, or - for standard
            output, where nothing else is said then.
        force: Replace a file that --table names and that is there.
        json: Print what was found as JSON.
    """
    optimizer = check_optimizer(optimizer, learning_rate)
    if check_count("epochs", epochs) < 2 or check_batch_size(batch_size) < 2:
        raise ValueError(
            "noise is measured over at least 2 epochs of batches of at least 2 rows; got "
            f"epochs={epochs}, batch_size={batch_size}. Use more."
        )
    for width in hidden:
        check_count("every width in hidden", width)
    check_seed(seed)
    if table is not None:
        check_table_file(table, "--table", force, *source.files())
    loaded = source.table()

    import jax
    import jax.numpy as jnp

    from jaxgd.cli import noise_measured as measuring
    from jaxgd.cli.as_json import print_json
    from jaxgd.cli.following import command
    from jaxgd.cli.noise_report import as_json, by_epoch, show, suggested
    from jaxgd.cli.run_parts import keys
    from jaxgd.cli.terminal import show_next
    from jaxgd.figures.curves import as_png
    from jaxgd.storage.verified_file import write_atomically
    from jaxgd.tabular.predictor import Predictor

    run_keys = keys(seed)
    dataset = source.prepare(loaded, run_keys.split)
    n = len(dataset.train.y)
    if 2 * check_batch_size(batch_size, n) > n:
        raise ValueError(
            f"an epoch must have at least 2 batches; got batch_size={batch_size} with n={n}. "
            "Use a smaller --batch-size."
        )
    if critical and n < 12:
        raise ValueError(
            f"the critical batch size needs at least 12 rows, for runs of 3 sizes; got n={n}. "
            "Use --no-critical, or more rows."
        )
    names = {"table": "noise.csv", "scatter": "batch-scatter.png"}
    names |= {"hyperbola": "critical-batch-size.png"} if critical else {}
    files = checked_files(out, names, table, source.files())

    predictor = Predictor(len(dataset.schema.features), dataset.schema.target, hidden)
    data = jax.tree.map(jnp.asarray, dataset.train)
    setting = measuring.Setting(
        predictor.loss, data, optimizer, learning_rate, batch_size, epochs, run_keys
    )
    found = measuring.measured(setting, predictor.init(run_keys.init), n, critical)
    put_table(files["table"], table_file(by_epoch(found), files["table"]))
    write_atomically(files["scatter"], as_png(measuring.scatter_of(setting, found)))
    if found.runs is not None:
        write_atomically(files["hyperbola"], as_png(measuring.hyperbola_of(n, found.runs)))

    if files["table"] == STDOUT:
        return
    size, rate = suggested(found, learning_rate)
    shared = {"optimizer": optimizer, "epochs": epochs, "hidden": hidden, "seed": seed}
    options = {"learning_rate": rate, "batch_size": size, **shared}
    commands = {"train at that size": command("fit", source, options)}
    if json:
        print_json(as_json(found), judged_by="training loss", commands=commands, files=files)
        return
    show(found, loaded.source, dataset)
    show_next(commands, files)
