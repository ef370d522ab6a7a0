"""`jaxgd compare`: GD, SGD and mini-batch from one start, over the same epochs."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table as Grid
from tyro.conf import OmitArgPrefixes

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.settings import (
    Keys,
    check_replaces_no_input,
    exact_sgd,
    keys,
    make_room,
    optimizer_named,
    writable,
)
from jaxgd.cli.terminal import console, described, numbers_table, progress_bar
from jaxgd.cli.verdict import not_learned
from jaxgd.figures.curves import as_png, loss_curves
from jaxgd.fitting import Diverged, History, Interrupted, fit
from jaxgd.inputs import check_batch_size, check_count
from jaxgd.storage.verified_file import write_atomically
from jaxgd.tabular import Dataset
from jaxgd.tabular.predictor import Predictor


class Run(NamedTuple):
    """One method's run: the loss of all training rows after 0, 1, … epochs, and what came of it."""

    curve: np.ndarray
    history: History
    held_out: dict[str, float]
    diverged: bool
    worse: str | None
    blocked: bool


def compare(
    source: OmitArgPrefixes[DataOptions],
    *,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    seed: int = 0,
    out: Path = Path("jaxgd-compare"),
) -> None:
    """Train by GD, SGD and mini-batch from the same start and show them side by side.

    Writes the loss curves as loss-curves.png and loss-curves.csv. The exit status is 1 where every
    method diverged or ended worse than it started.

    Args:
        source: What to learn from what.
        epochs: How often each method sees every row.
        batch_size: Rows in a mini-batch.
        learning_rate: Learning rate of all three.
        seed: Decides the held-out rows and the order of the others.
        out: Directory for the loss curves.
    """
    optimizer_named("sgd", learning_rate)  # checks the rate before any data are read
    check_count("epochs", epochs)
    check_batch_size(batch_size)
    run_keys = keys(seed)
    table = source.table()
    dataset = source.prepare(table, run_keys.split)
    check_batch_size(batch_size, len(dataset.train.y))
    picture, numbers = writable(out / "loss-curves.png"), writable(out / "loss-curves.csv")
    if source.data is not None:
        check_replaces_no_input(numbers, "--out", source.data)
    make_room(picture)
    make_room(numbers)

    methods = {"GD": None, "SGD": 1, f"mini-batch of {batch_size}": batch_size}
    runs = {
        name: _run(name, b, dataset, epochs, learning_rate, run_keys) for name, b in methods.items()
    }
    curves = {name: run.curve for name, run in runs.items()}
    title = f"{table.source}, learning rate {learning_rate:g}"
    write_atomically(picture, as_png(loss_curves(curves, title=title)))
    write_atomically(numbers, _as_csv(curves, epochs))

    screen = console()
    rows = len(dataset.train.y), len(dataset.held_out.y) if dataset.held_out else 0
    told = described(table.source, dataset.schema, rows, dataset.train.x.dtype)
    screen.print(told, soft_wrap=True)
    precision = runs["GD"].history.precision
    screen.print(
        f"{epochs} epochs, learning rate {learning_rate:g}, seed {seed}, {precision} precision"
    )
    screen.show(_results(runs))
    if runs["SGD"].blocked:
        screen.print("SGD ran as jaxgd.blocked_sgd: the same updates, faster for a linear model.")
    for name, run in runs.items():
        if run.diverged:
            screen.print(f"{name} diverged in epoch {len(run.curve)}: use a smaller learning rate.")
        elif run.worse:
            screen.print(f"{name}: {run.worse}.", soft_wrap=True)
    screen.print(f"loss curves: {picture} and {numbers.name}", soft_wrap=True)
    if all(run.diverged or run.worse for run in runs.values()):
        raise SystemExit(1)


def _run(
    name: str,
    batch_size: int | None,
    dataset: Dataset,
    epochs: int,
    learning_rate: float,
    run_keys: Keys,
) -> Run:
    """Train one method, watching the loss of all training rows after each epoch."""
    schema = dataset.schema
    predictor = Predictor(len(schema.features), schema.target)
    params = predictor.init(run_keys.init)
    epoch = exact_sgd(predictor, "sgd", learning_rate, batch_size)
    with progress_bar(name) as progress:
        try:
            trained = fit(
                predictor.loss,
                params,
                dataset.train,
                optimizer=optimizer_named("sgd", learning_rate),
                epochs=epochs,
                batch_size=batch_size,
                epoch=epoch,
                key=run_keys.order,
                validation=dataset.train,
                progress=progress,
            )
            diverged = False
        except Diverged as error:
            trained, diverged = error.fit, True
        except Interrupted as error:
            told = f"interrupted in {name}, {error.reached}; nothing was written"
            raise Interrupted(told, error.fit, error.number, error.reached) from None
    start = predictor.score(params, dataset.train, schema.y_scaling)["loss"]
    after = trained.history.validation_loss
    curve = np.concatenate([[start], [] if after is None else after])
    worse = None if diverged else not_learned(start, curve[-1], start)
    held_out = {}
    if dataset.held_out is not None:
        held_out = predictor.score(trained.params, dataset.held_out, schema.y_scaling)
    return Run(curve, trained.history, held_out, diverged, worse, blocked=epoch is not None)


def _results(runs: Mapping[str, Run]) -> Grid:
    """The methods side by side, a column each."""
    grid = numbers_table("", *runs)
    counts = {name: run.history.loss.shape for name, run in runs.items()}
    grid.add_row("updates per epoch", *(f"{updates}" for _, updates in counts.values()))
    grid.add_row("updates", *(f"{epochs * updates}" for epochs, updates in counts.values()))
    grid.add_row("training loss", *(_loss(run, run.curve[-1]) for run in runs.values()))
    for score in next(iter(runs.values())).held_out:
        values = (_loss(run, run.held_out[score]) for run in runs.values())
        grid.add_row(f"held-out {score}", *values)
    seconds = [run.history.run_seconds for run in runs.values()]
    grid.add_row("seconds to compile", *(f"{r.history.compile_seconds:.2f}" for r in runs.values()))
    grid.add_row("seconds to run", *(f"{s:.4f}" for s in seconds))
    rates = (e * u / s if s else 0.0 for (e, u), s in zip(counts.values(), seconds, strict=True))
    grid.add_row("updates per second", *(f"{rate:,.0f}" for rate in rates))
    return grid


def _loss(run: Run, value: float) -> str:
    return "diverged" if run.diverged else f"{value:.4f}" if abs(value) < 1e5 else f"{value:.3e}"


def _as_csv(curves: Mapping[str, np.ndarray], epochs: int) -> bytes:
    """The training losses after 0, 1, … epochs, a column a run; empty once it has diverged."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", *curves])
    for epoch in range(epochs + 1):
        losses = (repr(float(c[epoch])) if epoch < len(c) else "" for c in curves.values())
        rows.writerow([epoch, *losses])
    return text.getvalue().encode()
