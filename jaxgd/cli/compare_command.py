"""`jaxgd compare`: GD, SGD and mini-batch from one start, over the same epochs."""

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from jaxgd.arguments import check_batch_size, check_count
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.interrupts import told_as
from jaxgd.cli.settings import (
    check_optimizer,
    check_replaces_no_input,
    check_seed,
    make_room,
    writable,
)


def compare(
    source: OmitArgPrefixes[DataOptions],
    *,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: Annotated[float, arg(aliases=("--lr",))] = 0.05,
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
    check_optimizer("sgd", learning_rate)
    check_count("epochs", epochs)
    check_batch_size(batch_size)
    check_seed(seed)
    with told_as("interrupted before any update was made; nothing was written"):
        table = source.table()

        from jaxgd.cli import comparison
        from jaxgd.cli.run_parts import keys
        from jaxgd.cli.terminal import console, described
        from jaxgd.figures.curves import as_png, loss_curves
        from jaxgd.storage.verified_file import write_atomically

        run_keys = keys(seed)
        dataset = source.prepare(table, run_keys.split)
    batch_size = min(batch_size, len(dataset.train.y))
    picture, numbers = writable(out / "loss-curves.png"), writable(out / "loss-curves.csv")
    check_replaces_no_input(numbers, "--out", *source.files())
    make_room(picture)
    make_room(numbers)

    methods = {"GD": None, "SGD": 1, f"mini-batch of {batch_size}": batch_size}
    runs = {
        name: comparison.run_method(name, b, dataset, epochs, learning_rate, run_keys)
        for name, b in methods.items()
    }
    curves = {name: run.curve for name, run in runs.items()}
    title = f"{table.source}, learning rate {learning_rate:g}"
    write_atomically(picture, as_png(loss_curves(curves, title=title)))
    write_atomically(numbers, comparison.as_csv(curves, epochs))

    screen = console()
    screen.print(described(table.source, dataset), soft_wrap=True)
    precision = runs["GD"].history.precision
    screen.print(
        f"{epochs} epochs, learning rate {learning_rate:g}, seed {seed}, {precision} precision",
        soft_wrap=True,
    )
    screen.show(comparison.results(runs))
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
