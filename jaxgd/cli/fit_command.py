"""`jaxgd fit`: one model trained on a table, and saved."""

from pathlib import Path
from typing import Annotated

import jax
from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.settings import (
    check_replaces_no_input,
    exact_sgd,
    keys,
    optimizer_named,
    writable,
)
from jaxgd.cli.terminal import console, described, numbers_table, progress_bar
from jaxgd.fitting import fit as fit_params
from jaxgd.inputs import check_batch_size, check_count
from jaxgd.tabular import Model, Predictor, save_model


def fit(
    source: OmitArgPrefixes[DataOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: float = 0.05,
    batch_size: int | None = 32,
    epochs: int = 20,
    seed: int = 0,
    model_file: Path = Path("model.safetensors"),
) -> None:
    """Train one model on a table and save it.

    Args:
        source: What to learn from what.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate.
        batch_size: Rows in a batch: None for gradient descent, 1 for SGD.
        epochs: How often every row is seen.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        model_file: Where the model goes.
    """
    transformation = optimizer_named(optimizer, learning_rate)
    check_count("epochs", epochs)
    if batch_size is not None:
        check_batch_size(batch_size)
    for width in hidden:
        check_count("every width in hidden", width)
    run_keys = keys(seed)
    writable(model_file)
    if source.data is not None:
        check_replaces_no_input(model_file, "--model-file", source.data)
    table = source.table()
    dataset = source.prepare(table, run_keys.split)
    schema = dataset.schema
    predictor = Predictor(len(schema.features), schema.target, hidden)

    epoch = exact_sgd(predictor, optimizer, learning_rate, batch_size)
    with progress_bar("training") as progress:
        params, _, history, _ = fit_params(
            predictor.loss,
            predictor.init(run_keys.init),
            dataset.train,
            optimizer=transformation,
            epochs=epochs,
            batch_size=batch_size,
            epoch=epoch,
            key=run_keys.order,
            validation=dataset.held_out,
            progress=progress,
        )
    training = {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
        "held_out": source.held_out,
    }
    model = Model(predictor, params, schema, training)
    save_model(model_file, model)

    parts = {"training": dataset.train, "held-out": dataset.held_out}
    scores = {name: model.score(part) for name, part in parts.items() if part is not None}
    grid = numbers_table("", *scores["training"])
    for name, values in scores.items():
        grid.add_row(name, *(f"{value:.4f}" for value in values.values()))
    n_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    screen = console()
    screen.print(described(table.source, dataset), soft_wrap=True)
    screen.print(
        f"{'MLP' if hidden else 'linear model'}, {n_params} parameters ({history.dtype})\n"
        f"{history.loss.size} updates by {optimizer}{' (jaxgd.blocked_sgd)' if epoch else ''}, "
        f"learning rate {learning_rate:g}: "
        f"{history.run_seconds:.3f} s after {history.compile_seconds:.2f} s of compiling"
    )
    screen.print(grid)
    screen.print(f"model: {model_file}", soft_wrap=True)
