"""`jaxgd fit`: one model trained on a table, and saved."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.arguments import Patience, check_batch_size, check_count, check_patience
from jaxgd.cli.data_options import DataOptions, Weights
from jaxgd.cli.host_options import HostOptions
from jaxgd.cli.interrupts import told_as
from jaxgd.cli.settings import check_optimizer, check_replaces_no_input, check_seed, writable

_BEFORE = "interrupted before any update was made; no file was changed"


def fit(
    source: OmitArgPrefixes[DataOptions],
    hosts: OmitArgPrefixes[HostOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: Annotated[float | Literal["auto"], arg(aliases=("--lr",))] = 0.05,
    batch_size: Annotated[int | None, arg(metavar="ROWS|all")] = 32,
    epochs: int = 20,
    patience: int | None = None,
    min_change: float = 0.0,
    class_weight: Literal["balanced"] | None = None,
    sample_weight: Annotated[str | None, arg(metavar="COLUMN")] = None,
    precision: Literal["default", "high", "highest"] = "default",
    seed: int = 0,
    model_file: Path = Path("model.safetensors"),
    run: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> None:
    """Train one model on a table and save it.

    A run that ends worse than it started, or than a constant prediction, leaves the model file as
    it was. Else it replaces an earlier model of the same table, and no other file. Of several
    processes (docs/hosts.md) each reads its rows, and process 0 writes.

    Args:
        source: What to learn from what.
        hosts: With whom to train.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate, or auto: the one that short runs end lowest with. A run that
            resumes keeps its own.
        batch_size: Rows in a batch: all for gradient descent, 1 for SGD.
        epochs: How often every row is seen, at most.
        patience: Stop after so many epochs without a lower held-out loss, and keep its best model.
        min_change: By how much a loss must be lower to count for --patience.
        class_weight: Count every class alike, however many rows it has.
        sample_weight: Column of what each row counts in the loss.
        precision: Of matrix products, which accelerators round to TF32 or bfloat16 by default.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        model_file: Where the model goes.
        run: Directory for checkpoints, every 30 s and at the end, and for history.jsonl.
        resume: Go on from the newest checkpoint in --run, if there is one.
        force: Replace the model file whatever it is.
    """
    optimizer = check_optimizer(optimizer, learning_rate)
    check_count("epochs", epochs)
    if batch_size is not None:
        check_batch_size(batch_size)
    for width in hidden:
        check_count("every width in hidden", width)
    waits = None if patience is None else check_patience(Patience(patience, min_change))
    if waits and not source.held_out:
        raise ValueError("--patience waits for the held-out loss; got --held-out 0. Hold some out.")
    if resume and run is None:
        raise ValueError("--resume goes on from a run's checkpoints; got no --run DIRECTORY.")
    hosts.check()
    if hosts.distributed and learning_rate == "auto":
        raise ValueError(
            "--learning-rate auto searches on the rows of one process; got --distributed. "
            "Give a number as --learning-rate."
        )
    weights = Weights(class_weight, sample_weight)
    if hosts.distributed and weights != Weights():
        raise ValueError(
            "rows are weighed by one process; got --distributed. Leave out --class-weight and "
            "--sample-weight."
        )
    check_seed(seed)
    with told_as(_BEFORE):
        table = None
        if not hosts.distributed:
            _check_outputs(model_file, run, source.files())
            table = source.table()

        import jax
        import numpy as np

        from jaxgd.cli import fit_report as report
        from jaxgd.cli.rows import SharedTable, WholeTable
        from jaxgd.cli.run_parts import exact_sgd, keys, optimizer_named
        from jaxgd.cli.terminal import console, progress_bar
        from jaxgd.fitting import fit as fit_params
        from jaxgd.scale.agreement import Processes
        from jaxgd.storage import Checkpoints
        from jaxgd.tabular import Model, Predictor, save_model

        of_rate, run_keys = optimizer_named(optimizer), keys(seed)
        mesh = hosts.joined(saves=run is not None)
        processes = Processes(mesh)
        with processes.or_none():
            if mesh is not None and processes.is_first:
                _check_outputs(model_file, run, source.files())
        rows: report.Rows
        if table is not None:
            rows = WholeTable(table, source, run_keys.split, weights)
        else:
            assert mesh is not None
            rows = SharedTable(source, run_keys.split, mesh)
        schema = rows.schema
        predictor = Predictor(len(schema.features), schema.target, hidden)
        start = predictor.init(run_keys.init)
        with processes.or_none():
            if processes.is_first:
                report.check_replaces_own(model_file, schema, force)
                report.make_rooms(model_file, run, start)

    if batch_size is not None:
        batch_size = min(batch_size, rows.n)
    goes_on = resume and run is not None and bool(Checkpoints(run).paths())
    by, epoch = optimizer, exact_sgd(predictor, optimizer, batch_size)
    if rows.weights is not None:
        by, epoch = f"{optimizer}, rows weighed", None
    if epoch is not None:
        by = f"{optimizer} (jaxgd.blocked_sgd)"
    if mesh is not None:
        by = f"{optimizer}, devices: {mesh.size}, processes: {len(processes.indices)}"
        epoch = report.by_all(predictor, of_rate, batch_size, mesh, hosts.deterministic)
    with (
        told_as(_BEFORE),  # what comes later is the fit's own
        report.in_our_words(run, epochs, rows.source, rows.numbers),
        progress_bar("training") if processes.is_first else nullcontext() as progress,
    ):
        params, _, history, position = fit_params(
            rows.loss(predictor),
            start,
            rows.train,
            optimizer=of_rate,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            epoch=epoch,
            key=run_keys.order,
            validation=rows.held_out,
            progress=progress or False,
            checkpoint=run,
            resume=resume,
            patience=waits,
            precision=precision,
        )
    training = {
        "optimizer": optimizer,
        "learning_rate": history.learning_rate,
        "batch_size": batch_size,
        "epochs": position.epoch,
        "seed": seed,
        "held_out": source.held_out,
        "precision": precision,
        "class_weight": class_weight,
        "sample_weight": sample_weight,
    }
    model = Model(predictor, jax.tree.map(np.asarray, params), schema, training)
    before, end = rows.training_losses(Model(predictor, start, schema, training), model)
    report.check_learned(before, end, rows.constant_loss(predictor), model_file)
    found = {part: rows.measures(model, part) for part in rows.parts}
    by_auto = " (found by auto)" if learning_rate == "auto" else ""
    by += f", learning rate {history.learning_rate:g}{by_auto}"
    with processes.or_none():
        if processes.is_first:
            save_model(model_file, model)
            report.tell(rows, report.run_told(model, history, by, goes_on), found)
            console().print(f"model: {model_file}", soft_wrap=True)


def _check_outputs(model_file: Path, run: Path | None, inputs: Sequence[Path]) -> None:
    """OSError or ValueError for outputs that cannot be written, or would replace the input."""
    writable(model_file)
    if run is not None:
        from jaxgd.fitting.history_file import HISTORY

        writable(run / HISTORY)
    check_replaces_no_input(model_file, "--model-file", *inputs)
