"""The friendly host loop: checks its input, runs compiled segments, keeps the history."""

import warnings
from collections.abc import Callable
from pathlib import Path

import jax
from jaxtyping import PyTree

from jaxgd.descent import Epoch, State
from jaxgd.fitting.advancing import trained, trained_and_saved
from jaxgd.fitting.checkpointing import Saver, Score, check_new
from jaxgd.fitting.checks import OnDivergence, check_on_divergence, check_start, check_waits
from jaxgd.fitting.divergence import searcher
from jaxgd.fitting.examples import Examples, check_examples
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.history_file import HISTORY, jsonl
from jaxgd.fitting.learning_rates import (
    LearningRate,
    check_learning_rate,
    searched_rate,
    stored_rate,
)
from jaxgd.fitting.method import Method, Traced, method_of
from jaxgd.fitting.progress import Progress, reporter
from jaxgd.fitting.saving import Saving, check_saving
from jaxgd.fitting.training import Training
from jaxgd.fitting.training_identity import identity
from jaxgd.inputs import OfRate, Optimizer, check_count, check_untraced
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.precision import Precision, in_precision
from jaxgd.stopping import Patience
from jaxgd.storage import Checkpoints


def fit(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Optimizer | OfRate | str,
    learning_rate: LearningRate | None = None,
    epochs: int,
    batch_size: int | None = None,
    epoch: Epoch | Callable[[float], Epoch] | None = None,
    key: Key | None = None,
    shuffle: bool = True,
    row_keys: bool = False,
    start: int | Position = 0,
    validation: PyTree | None = None,
    progress: bool | Progress = False,
    checkpoint: Path | str | None = None,
    every: int | str = "30s",
    resume: bool = False,
    keep_best: bool | Score = False,
    on_divergence: OnDivergence = "raise",
    patience: int | Patience | None = None,
    params_of: Callable[[State], PyTree] | None = None,
    precision: Precision = "default",
) -> Fit:
    """The result of training on data for a number of epochs: `Fit(params, state, history, …)`.

    `optimizer` is any of optax's, or the name of one of torch's in `jaxgd.optim`, with torch's
    defaults. With a `learning_rate` the optimizer is a function of it, such as `optax.sgd`, or a
    name, and an `epoch` of one's own is a function of it, too. "auto" is the rate that
    `jaxgd.study.learning_rate_range` finds with these settings, in runs of no more updates than
    this one; `history.learning_rate` tells it, `progress=True` prints it, and a run that resumes
    keeps it.

    `batch_size=None` is full-batch descent, 1 is SGD, anything between is mini-batch;
    `epoch` takes the place of `gd` or `minibatch`, such as `blocked_sgd(…)` with batch_size=1.
    Epoch e visits the rows in the order `shuffle(fold_in(key, e), n)`, as `train` does, and with
    `row_keys` an example is (example, key), as there: the losses are those of `train`, to rounding.

    Data may be a `jaxgd.streaming.Source` of rows that are read when they are needed, with the same
    bits: then a sample of them is checked at once and counts as their identity, the others are
    checked as they are read, and its `order` is the one that rows come in.

    An epoch is run in the segments of `jaxgd.plan`, each a compiled program of its own that a
    second fit with the same loss and optimizer finds compiled. After each, `progress` is told: True
    prints a line, a function of `Progressed` may return True or raise `Stop` to end the fit there.
    To go on from a fit give its `state` in the place of params, and `start=` its `position`: what
    comes out is bit for bit what an uninterrupted fit of `epochs` more epochs gives. `validation`
    is data like `data` on which the loss is evaluated after each epoch.

    With `checkpoint=DIRECTORY` the state, history and position are written there at the first
    border after `every` so many updates, or seconds, and at the end; `resume` goes on from the
    newest that is whole, to the bits of a run that was never interrupted, or begins where there is
    none. A checkpoint is written beside the next segment; one that cannot be is raised at the next
    border. With `keep_best` the best epoch's is kept too: by its validation loss, or else its mean
    loss, or by what a function of `Progressed` gives, lower being better;
    `jaxgd.storage.Checkpoints(DIRECTORY).best()` reads it. Beside them `history.jsonl` gets a line
    after each segment (see `jsonl`). Ctrl-C (and SIGTERM, with a checkpoint) waits for the next
    border, writes a checkpoint, and raises `Interrupted`, whose `.fit` is the run so far; a second
    one acts as soon as a checkpoint that is being written is through.

    With an epoch of `jaxgd.scale.data_parallel` rows stay where they lie, on the devices of one
    process or several; of these the first writes, and a signal to one stops all at one border.

    At the first loss, gradient or parameter that is not finite, `on_divergence="raise"` raises
    `Diverged`, "stop" warns with its message and returns the run up to the border before, and
    "skip" goes on without the updates concerned (`jaxgd.optim.skip_nonfinite`), as long as any
    update of a segment is kept. With `patience`, so many epochs or a `Patience`, the run ends when
    the validation loss has not fallen for as long, and params are those of its lowest: the same
    decisions as in `jaxgd.train_until`. A patience is gone on with from a checkpoint only: with
    `state` and `start` it begins anew.

    `params_of(state)` are the params that are validated and handed back, by default the state's
    own: `jaxgd.optim.average_of`, with an optimizer `jaxgd.optim.with_average`.

    Matrix products of the loss and its gradient are worked out in `precision`, see `in_precision`:
    on accelerators "default" is less than float32. Of "bfloat16" the params stay float32 and so
    does their mean over a batch; to keep labels and the loss itself so, wrap `predict` instead.

    Raises, before anything is compiled, ValueError or TypeError for data that are empty, ragged,
    not finite or not numbers, params that are not real and floating point, a loss that is not a
    scalar, an optimizer that changes a dtype or a state of another, an epoch that does not fit
    batch_size, settings out of range, a checkpoint of another training, and a call inside jit or
    grad; OSError where a checkpoint could not be written; while running, `Diverged`. Warns, once,
    of float64 data that are rounded to float32.
    """
    check_untraced("fit", "Use train there.", params, data, validation, key)
    check_count("epochs", epochs)
    saving = check_saving(checkpoint, every, resume, keep_best)
    check_on_divergence(on_divergence, epoch)
    patience = check_waits(patience, validation)
    check_learning_rate(learning_rate, optimizer, isinstance(params, State))
    loss = in_precision(loss, precision)
    examples = check_examples(data, validation, batch_size, key, shuffle, row_keys)
    if examples.rounded is not None:
        warnings.warn(examples.rounded, stacklevel=2)
    position = check_start(start, examples.segments, examples.b)
    end = position.epoch + epochs
    if learning_rate == "auto":
        tell = progress is True
        learning_rate = _found_rate(loss, params, optimizer, examples, epochs, saving, tell)
    rate = None if learning_rate is None else float(learning_rate)
    method = method_of(loss, optimizer, epoch, rate, precision, on_divergence == "skip")

    examples = examples.placed(method.parallel)
    state = method.begin(params)
    traced = method.traced(state.params, examples.form())
    training = _training(method, traced, examples, state, position, end, patience, params_of)

    processes = method.processes
    report, stops = reporter(progress, processes.is_first), on_divergence == "stop"
    if saving is None:
        return trained(training, end, report, None, stops, processes)
    saver = _saver(saving, method, traced, examples, training)
    return trained_and_saved(training, end, report, saver, saving.resume, stops, processes)


def _found_rate(
    loss: Loss,
    params: PyTree,
    optimizer: OfRate | str,
    examples: Examples,
    epochs: int,
    saving: Saving | None,
    tell: bool,
) -> float:
    """The learning rate of the training that is gone on with, or else the one that a search finds.

    A directory that a new training may not have is refused before the search.
    """
    begun_with = None
    if saving is not None and saving.resume:
        begun_with = stored_rate(saving.directory)
    elif saving is not None:
        check_new(Checkpoints(saving.directory))
    return begun_with or searched_rate(
        optimizer,
        loss,
        params,
        examples.data,
        examples.batch_size,
        examples.key,
        shuffled=examples.shuffled,
        keyed=examples.keyed,
        updates=epochs * examples.updates,
        tell=tell,
    )


def _training(
    method: Method,
    traced: Traced,
    examples: Examples,
    state: State,
    position: Position,
    end: int,
    patience: Patience | None,
    params_of: Callable[[State], PyTree] | None,
) -> Training:
    """The training where it begins; nothing of it is compiled yet."""
    own_epoch, lying = method.epoch is not None, method.parallel is not None
    dtype = ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(state.params)}))
    return Training(
        program=method.program(traced, examples.batch_size, examples.on_cpu),
        rows=examples.rows(lying, end),
        held_out=examples.held_out(),
        segments=examples.segments,
        record=Record(examples.n, examples.b, dtype, method.precision, method.rate),
        state=method.place(state),
        position=position,
        search=None if own_epoch else searcher(method.loss, method.optimizer, examples.b),
        skips=method.skips,
        patience=patience,
        place=method.place,
        params_of=params_of or (lambda state: state.params),
    )


def _saver(
    saving: Saving, method: Method, traced: Traced, examples: Examples, training: Training
) -> Saver:
    """What writes the training down, and knows its checkpoints from those of another."""
    return Saver(
        Checkpoints(saving.directory),
        identity(method, traced, examples, training),
        saving.updates,
        saving.seconds,
        jsonl(saving.directory / HISTORY),
        saving.score,
        method.processes.is_first,
    )
