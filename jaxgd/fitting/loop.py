"""The friendly host loop: checks its input, runs compiled segments, keeps the history."""

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from jaxgd.batches import plan
from jaxgd.descent import Epoch, State, init_state, strong
from jaxgd.fitting.advancing import trained, trained_and_saved
from jaxgd.fitting.checkpointing import (
    Saver,
    Score,
    check_every,
    check_new,
    identity,
    score_of,
)
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
from jaxgd.fitting.divergence import searcher
from jaxgd.fitting.fingerprint import of_arrays, of_lying, of_order, of_program
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.history_file import HISTORY, jsonl
from jaxgd.fitting.learning_rates import (
    LearningRate,
    at_rate,
    check_learning_rate,
    searched_rate,
    stored_rate,
)
from jaxgd.fitting.program import has_convolution, parallel_program, program_of
from jaxgd.fitting.progress import Progress, reporter
from jaxgd.fitting.rows import Lying, Rows
from jaxgd.fitting.together import (
    check_same,
    check_together,
)
from jaxgd.fitting.training import Training
from jaxgd.inputs import (
    OfRate,
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
    position = check_start(start, _segments(data, n, batch_size), b)
    if validation is not None:
        validation = check_data("validation", validation)
        check_like(_plain(validation), _plain(data))
    if learning_rate == "auto":
        if not resume and checkpoint is not None:
            check_new(Checkpoints(checkpoint))
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
    learning_rate = learning_rate and float(learning_rate)
    optimizer, epoch = at_rate(optimizer, epoch, learning_rate)
    parallel = epoch if isinstance(epoch, DataParallel) else None
    check_together(parallel, batch_size, data, source is not None, row_keys)
    epoch = epoch and check_precise(epoch, precision)
    if on_divergence == "skip":
        optimizer = _skipping(optimizer)
    data = data if parallel is None else parallel.placed(data)
    every, segments = _plain(data), _segments(data, n, batch_size)
    state = _start(params, optimizer)
    rows: Rows | Reading | Lying = Rows(data, key, shuffled, row_keys)
    if parallel is not None:
        rows = Lying(data, key, shuffled, batch_size is None)
    if source is not None:
        end = position.epoch + epochs
        rows = Reading(source, key, shuffled, row_keys, segments, end)
    example = rows.form(1) if row_keys else every
    traced = check_loss(loss, state.params, example)
    marks = _marks(traced, optimizer, state.params)
    if parallel is not None:
        its = check_loss(in_precision(parallel.loss, precision), state.params, example)
        check_same(marks, _marks(its, parallel.optimizer, state.params))
    held_out = None
    if validation is not None:
        check_together(parallel, batch_size, validation, False, False)
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
        return trained(training, end, report, None, stops, processes)
    settings: dict[str, Any] = {
        "params": form(state.params),
        "batch_size": batch_size,
        "shuffle": shuffled,
        "order": of_order(rows.order(0), n) if shuffled or source else None,
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
    devices: int | None = jax.device_count()
    if parallel is not None:
        devices = None if parallel.devices.deterministic else parallel.devices.mesh.size
    own = identity(data, n, segments, key, settings, hashed(data), devices)
    log, score = jsonl(Path(checkpoint) / HISTORY), score_of(keep_best)
    saver = Saver(Checkpoints(checkpoint), own, *pause, log, score, processes.is_first)
    return trained_and_saved(training, end, report, saver, resume, stops, processes)


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


def _plain(data: PyTree) -> PyTree:
    """The arrays of data, padded or not."""
    return data.rows if isinstance(data, Padded) else data


def _segments(data: PyTree, n: int, batch_size: int | None) -> tuple[slice, ...]:
    return (slice(0, n),) if batch_size is None else plan(_plain(data), batch_size, n)


def _marks(traced: ClosedJaxpr, optimizer: Optimizer, params: PyTree) -> dict[str, str]:
    """Hashes of a traced loss, and of what an optimizer traces to; raises for one that misfits."""
    return {
        "loss": of_program(traced),
        "optimizer": of_program(check_optimizer(optimizer, params)),
    }


def _dtype_of(params: PyTree) -> str:
    return ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)}))


def _platform(data: PyTree) -> str:
    return next(iter(jax.tree.leaves(data)[0].devices())).platform
