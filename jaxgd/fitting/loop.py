"""The friendly host loop: checks its input, runs compiled segments, keeps the history."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import jax
from jaxtyping import PyTree

from jaxgd.batches import plan
from jaxgd.descent import Epoch, State, init_state, strong
from jaxgd.fitting.checkpointing import Saver, Score, check_every, identity, score_of
from jaxgd.fitting.checks import (
    OnDivergence,
    check_data,
    check_finite,
    check_key,
    check_like,
    check_loss,
    check_on_divergence,
    check_optimizer,
    check_precise,
    check_read,
    check_start,
    form,
    rounded,
)
from jaxgd.fitting.divergence import Diverged, searcher
from jaxgd.fitting.fingerprint import of_arrays, of_lying, of_order, of_program
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.history_file import HISTORY, jsonl
from jaxgd.fitting.interruption import Interrupted, signals_wait
from jaxgd.fitting.learning_rates import (
    LearningRate,
    OfRate,
    at_rate,
    check_learning_rate,
    searched_rate,
    stored_rate,
)
from jaxgd.fitting.program import has_convolution, parallel_program, program_of
from jaxgd.fitting.progress import Progress, reporter
from jaxgd.fitting.rows import Lying, Rows
from jaxgd.fitting.together import check_together, shared, stops_at_border
from jaxgd.fitting.training import Training
from jaxgd.inputs import (
    Optimizer,
    Padded,
    check_batch_size,
    check_count,
    check_state_of,
    check_untraced,
    count_spread,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.optim import skip_nonfinite
from jaxgd.precision import Precision, in_precision
from jaxgd.scale.agreement import Processes
from jaxgd.scale.epochs import DataParallel
from jaxgd.scale.placement import on_mesh
from jaxgd.stopping import Patience, check_patience
from jaxgd.storage import Checkpoints
from jaxgd.streaming import Source
from jaxgd.streaming.streamed import Reading


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
    pause = check_every(every)
    if resume and checkpoint is None:
        raise ValueError("resume=True needs checkpoint=, the directory to go on from; got none.")
    if keep_best is not False and checkpoint is None:
        raise ValueError("keep_best needs checkpoint=, the directory to keep it in; got none.")
    check_on_divergence(on_divergence, epoch)
    if patience is not None:
        patience = check_patience(patience)
        if validation is None:
            raise ValueError(
                "patience waits for a validation loss; got no validation. Pass rows held out as "
                "validation=."
            )
    check_learning_rate(learning_rate, optimizer, isinstance(params, State))
    loss = in_precision(loss, precision)
    source = data if isinstance(data, Source) else None
    given = data if source is None else check_read(source, batch_size).sample()
    data = check_data("data", given)
    if (told := rounded(given, data)) is not None:
        warnings.warn(told, stacklevel=2)
    n = count_spread(data) if source is None else source.n
    b = n if batch_size is None else check_batch_size(batch_size, n)
    shuffled = shuffle and batch_size is not None
    if key is not None or shuffled or row_keys:
        key = check_key(key)
    if learning_rate == "auto":
        directory = checkpoint if resume else None
        learning_rate = stored_rate(directory) or searched_rate(
            optimizer,
            loss,
            params,
            data,
            batch_size,
            key,
            shuffled=shuffled,
            keyed=row_keys,
            updates=epochs * -(-n // b),
            tell=progress is True,
        )
    optimizer, epoch = at_rate(optimizer, epoch, learning_rate)
    parallel = epoch if isinstance(epoch, DataParallel) else None
    check_together(parallel, batch_size, data, source is not None, row_keys)
    epoch = epoch and check_precise(epoch, precision)
    if on_divergence == "skip":
        optimizer = _skipping(optimizer)
    data = data if parallel is None else parallel.placed(data)
    every = data.rows if isinstance(data, Padded) else data
    segments = (slice(0, n),) if batch_size is None else plan(every, b, n)
    position = check_start(start, segments, b)
    state = _start(params, optimizer)
    rows: Rows | Reading | Lying = Rows(data, key, shuffled, row_keys)
    if parallel is not None:
        rows = Lying(data, key, shuffled, batch_size is None)
    if source is not None:
        end = position.epoch + epochs
        rows = Reading(source, key, shuffled, row_keys, segments, end)
    example = rows.form(1) if row_keys else every
    traced = check_loss(loss, state.params, example)
    marks = {
        "loss": of_program(traced),
        "optimizer": of_program(check_optimizer(optimizer, state.params)),
    }
    held_out = None
    if validation is not None:
        validation = check_data("validation", validation)
        check_like(validation.rows if isinstance(validation, Padded) else validation, every)
        validation = validation if parallel is None else parallel.placed(validation)
        held_out = Rows(validation, key, shuffled=False, keyed=row_keys)
    host = has_convolution(traced) and _platform(data) == "cpu"
    place, processes, mark = _alone, Processes(), "".join(marks.values())
    if parallel is None:
        program = program_of(loss, optimizer, batch_size, epoch, host, mark)
    else:
        program = parallel_program(loss, parallel, epoch or parallel, mark)
        place = partial(on_mesh, mesh=parallel.devices.mesh)
        processes, state = Processes(parallel.devices.mesh), place(state)
    record = Record(n, b, _dtype_of(state.params), precision, learning_rate)
    search = searcher(loss, optimizer, b) if epoch is None else None
    skips = on_divergence == "skip"
    training = Training(
        program,
        rows,
        held_out,
        segments,
        record,
        state,
        position,
        search,
        skips,
        patience,
        place=place,
    )
    report, end = reporter(progress, processes.is_first), position.epoch + epochs
    stops = on_divergence == "stop"
    if checkpoint is None:
        return _train(training, end, report, None, stops, processes)
    settings: dict[str, Any] = {
        "params": form(state.params),
        "batch_size": batch_size,
        "shuffle": shuffled,
        "order": of_order(rows.order(0), n),
        "row_keys": row_keys,
        "precision": precision,
        "learning_rate": learning_rate,
        **marks,
    }
    hashed = of_arrays if parallel is None else of_lying
    settings["validation"] = None if validation is None else hashed(validation)
    if parallel is not None:
        settings["epoch"] = parallel.mark
    elif epoch is not None:
        of_segment = rows.form(segments[0].stop)
        settings["epoch"] = of_program(jax.make_jaxpr(epoch)(state, of_segment))
    settings["patience"] = None if patience is None else list(patience)
    ordered = parallel is not None and parallel.devices.deterministic
    own = identity(data, n, segments, key, settings, hashed(data), not ordered)
    log, score = jsonl(Path(checkpoint) / HISTORY), score_of(keep_best)
    saver = Saver(Checkpoints(checkpoint), own, *pause, log, score, processes.is_first)
    return _train_saved(training, end, report, saver, resume, stops, processes)


def _train_saved(
    training: Training,
    end: int,
    report: Progress | None,
    saver: Saver,
    resume: bool,
    stops: bool,
    processes: Processes,
) -> Fit:
    """Begin, or go on from the newest checkpoint, in a directory that is this run's alone.

    The first process alone looks at it, and tells the others what it has found.
    """
    directory = saver.checkpoints.directory
    with ExitStack() as stack:
        with processes.or_none():
            stack.enter_context(saver.held())
            saver.begin(training)
            found = saver.found(resume)
        with processes.or_none():
            if (stored := shared(processes, found)) is not None:
                saver.go_on(training, stored)
        if training.position > (end, 0):
            raise ValueError(
                f"epochs must reach as far as the checkpoint; got a run to epoch {end}, and "
                f"{directory} is at {training.position}. Use more epochs, or another directory."
            )
        return _train(training, end, report, saver, stops, processes)


def _train(
    training: Training,
    end: int,
    report: Progress | None,
    saver: Saver | None,
    stops_lost: bool,
    processes: Processes,
) -> Fit:
    """Advance until the end, a callback that stops it, a patience that is over, or a signal."""
    signals = (SIGINT, SIGTERM) if saver else (SIGINT,)
    with training.rows, signals_wait(signals) as waiting:
        try:
            while training.position.epoch < end and not training.has_waited:
                now = training.advance(end)
                if stops_at_border(processes, training, now, report, saver, waiting):
                    break
        except Exception as error:  # a callback's, or a divergence: it stands at a border
            if saver:
                saver.save_if_new(training)
            if not (stops_lost and isinstance(error, Diverged)):
                raise
            warnings.warn(f"stopped: {error}", stacklevel=3 if saver is None else 4)
        if saver:
            saver.save_if_new(training)
        if (number := waiting.number) is not None:
            waiting.number = None
            told = _interrupted(training, saver)
            raise Interrupted(told, training.fit(), number, training.reached())
    return training.fit()


def _interrupted(training: Training, saver: Saver | None) -> str:
    """How far it came, what was saved, and how to go on."""
    done = f"interrupted {training.reached()}"
    if saver is None:
        return f"{done}; the state and position are in .fit. Give both to fit to go on."
    return f"{done}; saved in {saver.checkpoints.directory}. Use resume=True to go on."


def _alone(tree: PyTree) -> PyTree:
    """The tree as it lies."""
    return tree


def _start(params: PyTree, optimizer: Optimizer) -> State:
    """The state to begin with: a new one for params, or the given one if it fits."""
    if not isinstance(params, State):
        check_finite(params)
        return init_state(params, optimizer)
    check_state_of(params, optimizer)
    check_finite(params.params)
    return strong(params)


@lru_cache
def _skipping(optimizer: Optimizer) -> Optimizer:
    """The optimizer that skips, the same object each time."""
    return skip_nonfinite(optimizer)


def _dtype_of(params: PyTree) -> str:
    return ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)}))


def _platform(data: PyTree) -> str:
    return next(iter(jax.tree.leaves(data)[0].devices())).platform
