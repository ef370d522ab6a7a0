"""`jaxgd fit`: one model trained on a table, and saved."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.host_options import HostOptions
from jaxgd.cli.interrupts import told_as
from jaxgd.cli.run_files import FIGURES, FILES
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
    config: Annotated[Path | None, arg(metavar="TOML")] = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Train one model on a table and save it.

    A run that ends worse than it started, or than a constant prediction, leaves the model file as
    it was. Else it replaces an earlier model of the same table, and no other file. Of several
    processes (docs/hosts.md) each reads its rows, and process 0 writes. The exit status is 0; 2
    after an error, which one that has learned nothing is; 130 and 143 after ctrl-C and SIGTERM.

    Args:
        source: What to learn from what.
        training: What to train, and how.
        hosts: With whom to train.
        model_file: Where the model goes.
        run: Directory for checkpoints, every 30 s and at the end, history.jsonl, and at the end the
            model, its settings, its measures, its figures, and report.html about all of it.
        resume: Go on from the newest checkpoint in --run, if there is one.
        config: File config.toml of a --run, to fit that again: its options, but those given here.
        force: Replace the model file whatever it is.
        quiet: Say nothing but errors.
        json: Print what was found as JSON, and nothing else.
    """
    training = training.checked(hosts.distributed)
    inputs = [*source.files(), *training.files(), *([] if config is None else [config])]
    if resume and run is None:
        raise ValueError("--resume goes on from a run's checkpoints; got no --run DIRECTORY.")
    hosts.check()
    with told_as(_BEFORE):
        table = None
        if not hosts.distributed:
            _check_outputs(model_file, run, inputs)
            table = source.table()

        import jax
        import numpy as np

        from jaxgd.cli import fit_report as report
        from jaxgd.cli import rate_search as search
        from jaxgd.cli.as_json import as_text
        from jaxgd.cli.rows import SharedTable, WholeTable
        from jaxgd.cli.run_parts import (
            epochs_of,
            exact_sgd,
            keys,
            optimizer_of,
            use_device,
            usual_decay,
        )
        from jaxgd.cli.terminal import progress_bar
        from jaxgd.fitting import fit as fit_params
        from jaxgd.optim import average_of
        from jaxgd.scale.agreement import Processes
        from jaxgd.storage import Checkpoints
        from jaxgd.tabular import Model, Predictor, save_model

        use_device(training.device)
        mesh = hosts.joined(saves=run is not None)  # before anything that computes
        processes = Processes(mesh)
        run_keys = keys(training.seed)
        with processes.or_none():
            if mesh is not None and processes.is_first:
                _check_outputs(model_file, run, inputs)
        rows: report.Rows
        if table is not None:
            rows = WholeTable(table, source, run_keys.split, training.weights, training.valid_part)
        else:
            assert mesh is not None
            rows = SharedTable(source, run_keys.split, mesh)
        schema = rows.schema
        predictor = Predictor(
            len(schema.features), schema.target, training.hidden, training.activation
        )
        start = predictor.init(run_keys.init)
        goes_on = resume and run is not None and bool(Checkpoints(run).paths())
        with processes.or_none():
            if processes.is_first:
                report.check_replaces_own(model_file, schema, force)
                if run is not None and not goes_on:
                    report.check_new_run(run, force)
                report.make_rooms(model_file, run, start)
                made = report.made_with(inputs, config) if run or config else {}
                if not (quiet or json):
                    report.tell_first(rows, predictor)

    batch_size = None if training.batch_size is None else min(training.batch_size, rows.n)
    updates = -(-rows.n // (batch_size or rows.n))
    usual = usual_decay(schema.target, rows.n)
    of_rate = optimizer_of(training, updates, usual)
    by, epoch = str(training.chosen()), None
    if training.is_plain:
        epoch = exact_sgd(predictor, by, batch_size)
    if rows.weights is not None:
        by, epoch = f"{by}, rows weighed", None
    if epoch is not None:
        by = f"{by} (jaxgd.blocked_sgd)"
    if mesh is not None:
        by = f"{by}, devices: {mesh.size}, processes: {len(processes.indices)}"
        epoch = report.by_all(predictor, of_rate, batch_size, mesh, hosts.deterministic)
    watched, judges = report.judged_by(rows, training)
    epochs = epochs_of(training, updates)
    fit_rows = partial(
        fit_params,
        rows.loss(predictor),
        data=rows.train,
        epochs=epochs,
        batch_size=batch_size,
        epoch=epoch,
        key=run_keys.order,
        precision=training.precision,
    )
    with (
        told_as(_BEFORE),  # what comes later is the fit's own
        report.in_our_words(run, epochs, rows.source, rows.numbers),
        progress_bar("training", watched)
        if processes.is_first and not quiet
        else nullcontext() as progress,
    ):
        if training.learning_rate == "auto":
            with report.as_a_search():
                begun = search.begin(fit_rows, of_rate, start, training, goes_on)
        else:
            begun = {"params": start, "optimizer": of_rate}
            begun["learning_rate"] = training.learning_rate
        params, state, history, position = fit_rows(
            **begun,
            validation=judges,
            progress=progress or False,
            checkpoint=run,
            resume=resume,
            patience=training.waits,
            params_of=average_of if training.average is not None else None,
        )
    rate, by_auto = history.learning_rate, ""
    if rate is None:
        rate, by_auto = search.rate_in(state), " (found by auto)"
    note = training.note(usual) | {
        "learning_rate": rate,
        "batch_size": batch_size,
        "epochs": position.epoch,
        "held_out": source.held_out,
    }
    why = report.why_stopped(training, position.epoch, watched if history.stopped_early else None)
    model = Model(predictor, jax.tree.map(np.asarray, params), schema, note)
    found = {part: rows.measures(model, part) for part in rows.parts}
    report.check_learned(*rows.training_losses(model, start, found["training"]), model_file)
    by += f", learning rate {rate:g}{by_auto}"
    with processes.or_none():
        if processes.is_first:
            save_model(model_file, model)
            told = report.as_json(rows, model, history, found, model_file)
            told |= {"watched": watched, "weighed": rows.weights is not None, "why": why}
            if run is not None:
                from jaxgd.cli.config_file import config_text
                from jaxgd.cli.run_directory import write_run

                write_run(run, config_text(source, training, made), told, model, rows.seen(model))
            if json:
                print(as_text(told))
            elif not quiet:
                report.tell(rows, report.run_told(model, history, by, goes_on, why), found)
                report.tell_files(model_file, run)


def _check_outputs(model_file: Path, run: Path | None, inputs: Sequence[Path]) -> None:
    """OSError or ValueError for outputs that cannot be written, or would replace the input."""
    writable(model_file)
    if run is not None:
        from jaxgd.fitting.history_file import HISTORY

        for name in (HISTORY, *FILES, f"{FIGURES}/losses.svg"):
            writable(run / name)
    check_replaces_no_input(model_file, "--model-file", *inputs)
