"""`jaxgd fit`: one model trained on a table, and saved."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh
from tyro.conf import OmitArgPrefixes, arg

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.host_options import HostOptions
from jaxgd.cli.interrupts import told_as
from jaxgd.cli.rows import Rows, SharedTable, WholeTable
from jaxgd.cli.settings import (
    check_replaces_no_input,
    exact_sgd,
    keys,
    make_room,
    optimizer_named,
    writable,
)
from jaxgd.cli.terminal import console, described_rows, numbers_table, progress_bar
from jaxgd.cli.verdict import not_learned
from jaxgd.cli.wording import in_options
from jaxgd.descent import Epoch
from jaxgd.fitting import Diverged, History, Interrupted
from jaxgd.fitting import fit as fit_params
from jaxgd.fitting.divergence import listed, remedy_of
from jaxgd.fitting.history_file import HISTORY
from jaxgd.inputs import OfRate, check_batch_size, check_count
from jaxgd.scale.agreement import Processes
from jaxgd.scale.epochs import data_parallel
from jaxgd.stopping import Patience, check_patience
from jaxgd.storage import Checkpoints
from jaxgd.tabular import Model, Predictor, save_model

# Of a model file, what is not numbers: the names of columns and classes, and how it was trained.
_NAMES_BYTES = 2**16

_BEFORE = "interrupted before any update was made; no file was changed"


def fit(
    source: OmitArgPrefixes[DataOptions],
    hosts: OmitArgPrefixes[HostOptions],
    *,
    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = (),
    optimizer: str = "sgd",
    learning_rate: float | Literal["auto"] = 0.05,
    batch_size: int | None = 32,
    epochs: int = 20,
    patience: int | None = None,
    min_change: float = 0.0,
    precision: Literal["default", "high", "highest"] = "default",
    seed: int = 0,
    model_file: Path = Path("model.safetensors"),
    run: Path | None = None,
    resume: bool = False,
) -> None:
    """Train one model on a table and save it.

    A run that ends worse than it started, or than a constant prediction, leaves the model file as
    it was. Of several processes (docs/hosts.md) each reads its rows, and process 0 writes.

    Args:
        source: What to learn from what.
        hosts: With whom to train.
        hidden: Widths of an MLP's hidden layers; by default the model is linear.
        optimizer: One of torch.optim's by its name, such as sgd, adam or rmsprop.
        learning_rate: Learning rate, or auto: the one that short runs end lowest with. A run that
            resumes keeps its own.
        batch_size: Rows in a batch: None for gradient descent, 1 for SGD.
        epochs: How often every row is seen, at most.
        patience: Stop after so many epochs without a lower held-out loss, and keep its best model.
        min_change: By how much a loss must be lower to count for --patience.
        precision: Of matrix products, which accelerators round to TF32 or bfloat16 by default.
        seed: Decides the held-out rows, an MLP's start and the order of rows.
        model_file: Where the model goes.
        run: Directory for checkpoints, every 30 s and at the end, and for history.jsonl.
        resume: Go on from the newest checkpoint in --run, if there is one.
    """
    of_rate = optimizer_named(optimizer, learning_rate)
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
    mesh = hosts.joined(saves=run is not None)
    processes, run_keys = Processes(mesh), keys(seed)
    with told_as(_BEFORE):
        with processes.or_none():
            if processes.is_first:
                _check_outputs(model_file, run, source.data)
        rows = (
            WholeTable(source, run_keys.split)
            if mesh is None
            else SharedTable(source, run_keys.split, mesh)
        )
        schema = rows.schema
        predictor = Predictor(len(schema.features), schema.target, hidden)
        start = predictor.init(run_keys.init)
        with processes.or_none():
            if processes.is_first:
                _make_rooms(model_file, run, start)

    goes_on = resume and run is not None and bool(Checkpoints(run).paths())
    by, epoch = optimizer, exact_sgd(predictor, optimizer, batch_size)
    if epoch is not None:
        by = f"{optimizer} (jaxgd.blocked_sgd)"
    if mesh is not None:
        by = f"{optimizer}, devices: {mesh.size}, processes: {len(processes.indices)}"
        epoch = _by_all(predictor, of_rate, batch_size, mesh, hosts.deterministic)
    with (
        told_as(_BEFORE),  # what comes later is the fit's own
        _in_our_words(run, epochs, rows.source, rows.numbers),
        progress_bar("training") if processes.is_first else nullcontext() as progress,
    ):
        params, _, history, position = fit_params(
            predictor.loss,
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
    }
    model = Model(predictor, jax.tree.map(np.asarray, params), schema, training)
    scores = {part: rows.score(model, part) for part in rows.parts}
    before = rows.score(Model(predictor, start, schema, training), "training")["loss"]
    _check_learned(before, scores["training"]["loss"], rows.constant_loss(predictor), model_file)
    found = " (found by auto)" if learning_rate == "auto" else ""
    by += f", learning rate {history.learning_rate:g}{found}"
    with processes.or_none():
        if processes.is_first:
            save_model(model_file, model)
            _tell(rows, _run_told(model, history, by, goes_on), scores)
            console().print(f"model: {model_file}", soft_wrap=True)


def _by_all(
    predictor: Predictor, of_rate: OfRate, batch_size: int | None, mesh: Mesh, deterministic: bool
) -> Callable[[float], Epoch]:
    """The epoch of all processes, each with its own rows, as a function of the learning rate."""
    return lambda rate: data_parallel(
        predictor.loss,
        of_rate(rate),
        batch_size,
        mesh,
        rows="owned",
        deterministic=deterministic,
    )


def _check_outputs(model_file: Path, run: Path | None, data: Path | None) -> None:
    """OSError or ValueError for outputs that cannot be written, or would replace the input."""
    writable(model_file)
    if run is not None:
        writable(run / HISTORY)
    if data is not None:
        check_replaces_no_input(model_file, "--model-file", data)


def _make_rooms(model_file: Path, run: Path | None, start: Any) -> None:
    make_room(model_file, _NAMES_BYTES + sum(leaf.nbytes for leaf in jax.tree.leaves(start)))
    if run is not None:
        make_room(run / HISTORY)


def _tell(rows: Rows, run_told: str, scores: dict[str, dict[str, float]]) -> None:
    """What was learnt from what, and how well."""
    grid = numbers_table("", *scores["training"])
    for name, values in scores.items():
        grid.add_row(name, *(f"{value:.4f}" for value in values.values()))
    screen = console()
    told = described_rows(rows.source, rows.schema, (rows.n, rows.held), rows.dtype)
    screen.print(told, soft_wrap=True)
    screen.print(run_told)
    screen.show(grid)


def _run_told(model: Model, history: History, by: str, goes_on: bool) -> str:
    """What was trained, how long it took, of a run that goes on since then, and why it ended."""
    kind = "MLP" if model.predictor.hidden else "linear model"
    n_params = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    early = f"\nstopped after {len(history.loss)} epochs: the held-out loss fell no more"
    return (
        f"{kind}, {n_params} parameters ({history.dtype}, {history.precision} precision)\n"
        f"{history.loss.size} updates by {by}{'; since the checkpoint' if goes_on else ''}: "
        f"{history.run_seconds:.3f} s after {history.compile_seconds:.2f} s of compiling"
        f"{early if history.stopped_early else ''}"
    )


def _check_learned(before: float, end: float, constant: float, model_file: Path) -> None:
    """FloatingPointError for a run that has learned nothing: its model is not worth a file."""
    told = not_learned(before, end, constant)
    if told is not None:
        kept = "left as it was" if model_file.exists() else "not written"
        raise FloatingPointError(
            f"{told}. {model_file} is {kept}. Use another --learning-rate, or more --epochs."
        )


@contextmanager
def _in_our_words(run: Path | None, epochs: int, where: str, rows: np.ndarray) -> Iterator[None]:
    """Interruptions and divergences in the command's words: the options, the table's own rows."""
    saved = "nothing was saved (--run DIRECTORY would)" if run is None else f"saved in {run}"
    try:
        yield
    except Interrupted as error:
        told = f"interrupted {error.reached}, of {epochs} epochs; {saved}"
        raise Interrupted(told, error.fit, error.number, error.reached) from None
    except Diverged as error:
        batch = listed(1 + rows[error.rows])
        remedy = in_options(remedy_of(error.position))
        raise FloatingPointError(
            f"{error.what}; its batch is {batch} of {where}. {remedy}"
        ) from None
