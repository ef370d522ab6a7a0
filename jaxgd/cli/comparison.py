"""The three methods run on the same data, and their results side by side."""

import csv
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from rich.table import Table as Grid

from jaxgd.cli.interrupts import told_as
from jaxgd.cli.run_parts import Keys, exact_sgd, optimizer_named
from jaxgd.cli.terminal import figure, numbers_table, progress_bar
from jaxgd.cli.verdict import not_learned
from jaxgd.fitting import Diverged, History, Interrupted, fit
from jaxgd.tabular import Dataset, Model
from jaxgd.tabular.predictor import Predictor


class Run(NamedTuple):
    """One method's run: the loss of all training rows after 0, 1, … epochs, and what came of it."""

    curve: np.ndarray
    history: History
    held_out: dict[str, float]
    diverged: bool
    worse: str | None
    blocked: bool


def run_method(
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
    epoch = exact_sgd(predictor, "sgd", batch_size)
    before = f"interrupted in {name}, before its first update; nothing was written"
    with told_as(before), progress_bar(name) as progress:
        try:
            trained = fit(
                predictor.loss,
                params,
                dataset.train,
                optimizer=optimizer_named("sgd"),
                learning_rate=learning_rate,
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
    start, _ = predictor.judged(params, dataset.train)
    after = trained.history.validation_loss
    curve = np.concatenate([[start], [] if after is None else after])
    worse = None if diverged else not_learned(start, curve[-1], start)
    held_out = {}
    if dataset.held_out is not None:
        held_out = Model(predictor, trained.params, schema).score(dataset.held_out)
    return Run(curve, trained.history, held_out, diverged, worse, blocked=epoch is not None)


def results(runs: Mapping[str, Run]) -> Grid:
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
    return "diverged" if run.diverged else figure(value)


def as_csv(curves: Mapping[str, np.ndarray], epochs: int) -> bytes:
    """The training losses after 0, 1, … epochs, a column a run; empty once it has diverged."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", *curves])
    for epoch in range(epochs + 1):
        losses = (repr(float(c[epoch])) if epoch < len(c) else "" for c in curves.values())
        rows.writerow([epoch, *losses])
    return text.getvalue().encode()
