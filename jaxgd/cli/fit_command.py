"""`jaxgd fit`: one model trained on a table, and saved."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.host_options import HostOptions
from jaxgd.cli.interrupts import told_as
from jaxgd.cli.settings import check_replaces_no_input, writable
from jaxgd.cli.training_options import TrainingOptions

_BEFORE = "interrupted before any update was made; no file was changed"


def fit(
    source: OmitArgPrefixes[DataOptions],
    training: OmitArgPrefixes[TrainingOptions],
    hosts: OmitArgPrefixes[HostOptions],
    *,
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
        training: What to train, and how.
        hosts: With whom to train.
        model_file: Where the model goes.
        run: Directory for checkpoints, every 30 s and at the end, and for history.jsonl.
        resume: Go on from the newest checkpoint in --run, if there is one.
        force: Replace the model file whatever it is.
    """
    training = training.checked(source.held_out, hosts.distributed)
    if resume and run is None:
        raise ValueError("--resume goes on from a run's checkpoints; got no --run DIRECTORY.")
    hosts.check()
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

        of_rate, run_keys = optimizer_named(training.optimizer), keys(training.seed)
        mesh = hosts.joined(saves=run is not None)
        processes = Processes(mesh)
        with processes.or_none():
            if mesh is not None and processes.is_first:
                _check_outputs(model_file, run, source.files())
        rows: report.Rows
        if table is not None:
            rows = WholeTable(table, source, run_keys.split, training.weights)
        else:
            assert mesh is not None
            rows = SharedTable(source, run_keys.split, mesh)
        schema = rows.schema
        predictor = Predictor(len(schema.features), schema.target, training.hidden)
        start = predictor.init(run_keys.init)
        with processes.or_none():
            if processes.is_first:
                report.check_replaces_own(model_file, schema, force)
                report.make_rooms(model_file, run, start)

    batch_size = None if training.batch_size is None else min(training.batch_size, rows.n)
    goes_on = resume and run is not None and bool(Checkpoints(run).paths())
    by, epoch = training.optimizer, exact_sgd(predictor, training.optimizer, batch_size)
    if rows.weights is not None:
        by, epoch = f"{by}, rows weighed", None
    if epoch is not None:
        by = f"{by} (jaxgd.blocked_sgd)"
    if mesh is not None:
        by = f"{training.optimizer}, devices: {mesh.size}, processes: {len(processes.indices)}"
        epoch = report.by_all(predictor, of_rate, batch_size, mesh, hosts.deterministic)
    with (
        told_as(_BEFORE),  # what comes later is the fit's own
        report.in_our_words(run, training.epochs, rows.source, rows.numbers),
        progress_bar("training") if processes.is_first else nullcontext() as progress,
    ):
        params, _, history, position = fit_params(
            rows.loss(predictor),
            start,
            rows.train,
            optimizer=of_rate,
            learning_rate=training.learning_rate,
            epochs=training.epochs,
            batch_size=batch_size,
            epoch=epoch,
            key=run_keys.order,
            validation=rows.held_out,
            progress=progress or False,
            checkpoint=run,
            resume=resume,
            patience=training.waits,
            precision=training.precision,
        )
    note = asdict(training) | {
        "learning_rate": history.learning_rate,
        "batch_size": batch_size,
        "epochs": position.epoch,
        "held_out": source.held_out,
    }
    model = Model(predictor, jax.tree.map(np.asarray, params), schema, note)
    before, end = rows.training_losses(Model(predictor, start, schema, note), model)
    report.check_learned(before, end, rows.constant_loss(predictor), model_file)
    found = {part: rows.measures(model, part) for part in rows.parts}
    by_auto = " (found by auto)" if training.learning_rate == "auto" else ""
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
