"""`jaxgd sweep`: which learning rate and batch size, on a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.arguments import check_batch_size, check_count
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import beside, checked_files
from jaxgd.cli.settings import check_optimizer, check_seed
from jaxgd.cli.table_files import STDOUT, check_table_file, put_table, table_file

if TYPE_CHECKING:
    import jaxgd.study

_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_SIZES = (8, 16, 32, 64, 128)

# Half a second to import, which the program's compiling takes in any case.
_FOR_PICTURES = ("jaxgd.cli.sweep_report", "matplotlib.backends.backend_agg")


def sweep(
    source: OmitArgPrefixes[DataOptions],
    *,
    learning_rates: Annotated[tuple[float, ...], arg(metavar="RATE …")] = _RATES,
    batch_sizes: Annotated[tuple[int, ...] | None, arg(metavar="SIZE …")] = None,
    seeds: int = 5,
    epochs: int = 20,
    optimizer: str = "sgd",
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    seed: int = 0,
    out: Path = Path("jaxgd-sweep"),
    table: Path | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Train a model at every learning rate, batch size and seed at once, and say which is best.

    Writes a heat map (heat-map.png), the curves of each batch size's best rate (curves.png) and
    every epoch's losses (sweep.csv). The exit status is 1 where every setting diverged.

    Args:
        source: What to learn from what.
        learning_rates: Learning rates to try.
        batch_sizes: Batch sizes to try; by default 8 16 32 64 128, as far as there are rows.
        seeds: How many orders of the rows each is tried with, from --seed on.
        epochs: How often every row is seen.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        seed: Decides the held-out rows, an MLP's start and the first order of rows.
        out: Directory for the pictures and the table.
        table: Where the table goes instead: a .csv, .parquet or .jsonl file, or - for standard
            output, where nothing else is said then.
        force: Replace a file that --table names and that is there.
        json: Print what was found as JSON.
    """
    for rate in learning_rates:
        optimizer = check_optimizer(optimizer, rate)
    for width in hidden:
        check_count("every width in hidden", width)
    check_count("epochs", epochs)
    check_count("seeds", seeds)
    check_seed(seed)
    if table is not None:
        check_table_file(table, "--table", force, *source.files())
    read = source.table()

    from jaxgd.cli.after_a_sweep import next_commands
    from jaxgd.cli.as_json import print_json
    from jaxgd.cli.meanwhile import imported_meanwhile
    from jaxgd.cli.run_parts import keys, optimizer_named
    from jaxgd.cli.terminal import described, runs_bar
    from jaxgd.figures.curves import as_png
    from jaxgd.storage.verified_file import write_atomically
    from jaxgd.study import sweep as sweep_grid
    from jaxgd.tabular.predictor import Predictor

    run_keys = keys(seed)
    dataset = source.prepare(read, run_keys.split)
    n = len(dataset.train.y)
    sizes = tuple(b for b in _SIZES if b <= n) or (n,) if batch_sizes is None else batch_sizes
    for size in sizes:
        check_batch_size(size, n)
    names = {"heat map": "heat-map.png", "curves": "curves.png", "table": "sweep.csv"}
    further = {"out": beside(out)} | ({} if table is None else {"table": beside(table)})
    files = checked_files(out, names, table, source.files())
    predictor = Predictor(len(dataset.schema.features), dataset.schema.target, hidden)
    start = predictor.init(run_keys.init)
    of_rate = optimizer_named(optimizer)
    with runs_bar("sweeping") as progress, imported_meanwhile(*_FOR_PICTURES):
        found = sweep_grid(
            predictor.loss,
            start,
            dataset.train,
            optimizer=lambda learning_rate: of_rate(learning_rate),
            grid={"learning_rate": learning_rates},
            batch_sizes=sizes,
            seeds=range(seed, seed + seeds),
            epochs=epochs,
            validation=dataset.held_out,
            key_of=lambda seed: keys(seed).order,
            progress=progress,
        )

    from jaxgd.cli.sweep_report import Found, as_json, curves_of, heat_map_of, show

    best = _best(found)
    options = {"epochs": epochs, "optimizer": optimizer, "hidden": hidden, "seed": seed}
    judged = "training loss" if dataset.held_out is None else "held-out loss"
    told = Found(
        found,
        best,
        judged,
        next_commands(found, best, source, options, {"seeds": seeds, **further}),
        f"{read.source}: {epochs} epochs of {optimizer}",
    )
    write_atomically(files["heat map"], as_png(heat_map_of(told)))
    write_atomically(files["curves"], as_png(curves_of(told)))
    put_table(files["table"], table_file(found.table(), files["table"]))
    if files["table"] == STDOUT:
        pass
    elif json:
        print_json(as_json(told), judged_by=judged, commands=told.commands, files=files)
    else:
        show(told, files, described(read.source, dataset))
    if best is None:
        raise SystemExit(1)


def _best(found: "jaxgd.study.Sweep") -> "jaxgd.study.Best | None":
    try:
        return found.best
    except FloatingPointError:  # of which the sweep has warned
        return None
