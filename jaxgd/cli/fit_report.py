"""What a fit is made of besides its settings, and what is told of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgd.cli.as_json import OwnNames
from jaxgd.cli.interrupts import Signalled
from jaxgd.cli.measures_report import Measured, measures_as_json, measures_tables
from jaxgd.cli.model_report import kind_of_model, n_params
from jaxgd.cli.rows import Rows
from jaxgd.cli.run_files import FILES, REPORT
from jaxgd.cli.settings import check_replaces_nothing, make_room
from jaxgd.cli.table_report import account_lines
from jaxgd.cli.terminal import console, described_rows, figure
from jaxgd.cli.training_options import TrainingOptions
from jaxgd.cli.verdict import not_learned
from jaxgd.cli.wording import in_options
from jaxgd.descent import Epoch
from jaxgd.fitting import Diverged, History, Interrupted
from jaxgd.fitting.checkpointing import check_new
from jaxgd.fitting.divergence import listed, remedy_of
from jaxgd.fitting.history_file import HISTORY
from jaxgd.inputs import OfRate
from jaxgd.scale.epochs import data_parallel
from jaxgd.storage import Checkpoints
from jaxgd.tabular import Model, Predictor, Schema, load_model

# Of a model file, what is not numbers: the names of columns and classes, and how it was trained.
_NAMES_BYTES = 2**16


def by_all(
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


def check_replaces_own(model_file: Path, schema: Schema, force: bool) -> None:
    """FileExistsError for a file that is no earlier model of the table, unless it may be replaced.

    A model of the same target is one, if its columns are among these or these among its own: a fit
    may be made again, with other settings and with columns left out or taken back.
    """
    if force or not model_file.exists():
        return
    try:
        earlier = load_model(model_file).schema
    except ValueError:
        told = "is no model of this jaxgd"
    else:
        ours, theirs = set(schema.kinds), set(earlier.kinds)
        if earlier.target.name == schema.target.name and (ours <= theirs or theirs <= ours):
            return
        told = f"is a model of {earlier.target.name!r} from other columns"
    raise FileExistsError(
        f"{model_file} {told}. Name another file with --model-file, or replace it with --force."
    )


def check_new_run(run: Path, force: bool) -> None:
    """FileExistsError or ValueError for a directory that holds another run, or other files."""
    check_new(Checkpoints(run))
    for name in FILES:
        check_replaces_nothing(run / name, "--run", force)


def judged_by(rows: Rows, training: TrainingOptions) -> tuple[str, Any]:
    """The rows whose loss is told after each epoch, and may stop the run, by their name."""
    if rows.valid is not None:
        return "validation", rows.valid
    if training.waits is not None:
        return "training", rows.train
    return "held-out", rows.held_out


def make_rooms(model_file: Path, run: Path | None, start: Any) -> None:
    """Raise OSError unless there is room for what a fit writes."""
    make_room(model_file, _NAMES_BYTES + sum(leaf.nbytes for leaf in jax.tree.leaves(start)))
    if run is not None:
        for name in (HISTORY, *FILES):
            make_room(run / name)


def made_with(inputs: Sequence[Path], config: Path | None) -> dict[str, str]:
    """What a fit is made with; where it is made again, what is not as it was is warned of."""
    from jaxgd.cli import config_file  # most fits have none

    made = config_file.made_with([path for path in inputs if path != config])
    if config is not None:
        config_file.say_what_differs(config, made)
    return made


def tell_first(rows: Rows, predictor: Predictor) -> None:
    """What is to be learned from what, and what a constant prediction does."""
    counts = rows.n, rows.held, rows.set_aside
    told = described_rows(rows.source, rows.schema, counts, rows.dtype)
    constant = f"baseline: a constant prediction has loss {figure(rows.constant_loss(predictor))}"
    constant += "" if rows.weights is None else ", of rows as they are weighed"
    lines = [told, *account_lines(rows.schema, rows.account), constant]
    console().print("\n".join(lines), soft_wrap=True)


def tell(rows: Rows, told_of_run: str, found: dict[str, Measured]) -> None:
    """How it was learned, and how well."""
    screen = console()
    screen.print(told_of_run, soft_wrap=True)
    for grid in measures_tables(rows.schema.target, found):
        screen.show(grid)


def tell_files(model_file: Path, run: Path | None) -> None:
    """Where the model is, and the page about it."""
    console().print(f"model: {model_file}", soft_wrap=True)
    if run is not None:
        console().print(f"page: {run / REPORT}", soft_wrap=True)


def as_json(
    rows: Rows, model: Model, history: History, found: dict[str, Measured], model_file: Path
) -> dict[str, Any]:
    """What a fit has found, for programs."""
    schema, account = rows.schema, rows.account
    parts = {part.replace("-", "_"): measured for part, measured in found.items()}
    return {
        "task": schema.target.task,
        "target": schema.target.name,
        "reason": account.reason,
        "source": rows.source,
        "rows": rows.n + rows.held + rows.set_aside,
        "held_out": rows.held,
        "set_aside": rows.set_aside,
        "features": OwnNames(schema.kinds),
        "dropped": OwnNames(account.dropped),
        "remarks": [in_options(remark) for remark in account.remarks],
        **measures_as_json(schema.target, parts),
        "stopped": "patience" if history.stopped_early else "epochs",
        "epochs": model.training["epochs"],
        "model_kind": kind_of_model(model),
        "model": model_file,
        "seconds": history.compile_seconds + history.run_seconds,
    }


def run_told(model: Model, history: History, by: str, goes_on: bool, why: str) -> str:
    """What was trained, how long it took, of a run that goes on since then, and why it ended."""
    kind = "MLP" if model.predictor.hidden else "linear model"
    return (
        f"{kind}, {n_params(model)} parameters ({history.dtype}, {history.precision} precision)\n"
        f"{history.loss.size} updates by {by}{'; since the checkpoint' if goes_on else ''}: "
        f"{history.run_seconds:.3f} s after {history.compile_seconds:.2f} s of compiling\n"
        f"stopped {why}"
    )


def why_stopped(options: TrainingOptions, epochs: int, watched: str | None) -> str:
    """After how many epochs and why a run ended; `watched` is the loss that fell no more."""
    after = f"after {epochs} epoch{'s' * (epochs != 1)}"
    if watched is not None and options.waits is not None:
        return f"{after}: the {watched} loss fell no more for {options.waits.epochs}"
    if options.shape != "constant":
        return f"{after}: the learning rate has gone to 0"
    return f"{after}: as told" if options.epochs else f"{after}: as usual for so many rows"


def check_learned(before: float, end: float, constant: float, model_file: Path) -> None:
    """FloatingPointError for a run that has learned nothing: its model is not worth a file."""
    told = not_learned(before, end, constant)
    if told is not None:
        kept = "left as it was" if model_file.exists() else "not written"
        raise FloatingPointError(
            f"{told}. {model_file} is {kept}. Use another --learning-rate, or more --epochs."
        )


@contextmanager
def as_a_search() -> Iterator[None]:
    """Interruptions of the search for a learning rate, which leaves nothing to go on from."""
    try:
        yield
    except Interrupted as error:
        told = "interrupted in the search for a learning rate; nothing was saved"
        raise Signalled(error.number, told) from None


@contextmanager
def in_our_words(run: Path | None, epochs: int, where: str, rows: np.ndarray) -> Iterator[None]:
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
