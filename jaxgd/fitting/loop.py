"""The friendly host loop: checks its input, runs compiled segments, keeps the history."""

from functools import lru_cache

import jax
from jaxtyping import PyTree

from jaxgd.batches import plan
from jaxgd.descent import Epoch, State, init_state, strong
from jaxgd.fitting.checks import (
    check_data,
    check_finite,
    check_key,
    check_like,
    check_loss,
    check_optimizer,
    check_start,
)
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.program import has_convolution, program_of
from jaxgd.fitting.progress import Progress, asks_to_stop, reporter
from jaxgd.fitting.rows import Rows
from jaxgd.fitting.training import Training
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_state_of,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.optim import by_name


def fit(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Optimizer | str,
    epochs: int,
    batch_size: int | None = None,
    epoch: Epoch | None = None,
    key: Key | None = None,
    shuffle: bool = True,
    row_keys: bool = False,
    start: int | Position = 0,
    validation: PyTree | None = None,
    progress: bool | Progress = False,
) -> Fit:
    """The result of training on data for a number of epochs: `Fit(params, state, history, …)`.

    `optimizer` is any of optax's, or the name of one of torch's in `jaxgd.optim`, with torch's
    defaults. `batch_size=None` is full-batch descent, 1 is SGD, anything between is mini-batch;
    `epoch` takes the place of `gd` or `minibatch`, such as `blocked_sgd(…)` with batch_size=1.
    Epoch e visits the rows in the order `shuffle(fold_in(key, e), n)`, as `train` does, and with
    `row_keys` an example is (example, key), as there: the losses are those of `train`, to rounding.

    An epoch is run in the segments of `jaxgd.plan`, each a compiled program of its own that a
    second fit with the same loss and optimizer finds compiled. After each, `progress` is told: True
    prints a line, a function of `Progressed` may return True or raise `Stop` to end the fit there.
    To go on from a fit give its `state` in the place of params, and `start=` its `position`: what
    comes out is bit for bit what an uninterrupted fit of `epochs` more epochs gives. `validation`
    is data like `data` on which the loss is evaluated after each epoch.

    Raises, before anything is compiled, ValueError or TypeError for data that are empty, ragged,
    not finite or not numbers, params that are not real and floating point, a loss that is not a
    scalar, an optimizer that changes a dtype or a state of another, an epoch that does not fit
    batch_size, settings out of range, and a call inside jit or grad; while running, `Diverged` at
    the end of the first segment with a loss or parameters that are not finite.
    """
    check_untraced("fit", "Use train there.", params, data, validation, key)
    check_count("epochs", epochs)
    if isinstance(optimizer, str):
        optimizer = _named(optimizer)
    data = check_data("data", data)
    n = count_examples(data)
    b = n if batch_size is None else check_batch_size(batch_size, n)
    shuffled = shuffle and batch_size is not None
    if key is not None or shuffled or row_keys:
        key = check_key(key)
    segments = (slice(0, n),) if batch_size is None else plan(data, b)
    position = check_start(start, segments, b)
    state = _start(params, optimizer)
    rows = Rows(data, key, shuffled, row_keys)
    example = rows.of(position.epoch, slice(0, 1)) if row_keys else data
    traced = check_loss(loss, state.params, example)
    check_optimizer(optimizer, state.params)
    held_out = None
    if validation is not None:
        validation = check_like(check_data("validation", validation), data)
        held_out = Rows(validation, key, shuffled=False, keyed=row_keys)
    host = has_convolution(traced) and _platform(data) == "cpu"
    program = program_of(loss, optimizer, batch_size, epoch, host)
    record = Record(n, b, _dtype_of(state.params))
    training = Training(program, rows, held_out, segments, record, state, position)
    report, end = reporter(progress), position.epoch + epochs
    while training.position.epoch < end:
        if asks_to_stop(report, training.advance(end)):
            break
    return training.fit()


def _start(params: PyTree, optimizer: Optimizer) -> State:
    """The state to begin with: a new one for params, or the given one if it fits."""
    if not isinstance(params, State):
        check_finite(params)
        return init_state(params, optimizer)
    check_state_of(params, optimizer)
    check_finite(params.params)
    return strong(params)


@lru_cache
def _named(optimizer: str) -> Optimizer:
    """The optimizer of that name, the same object each time: a program is kept for it."""
    return by_name(optimizer)()


def _dtype_of(params: PyTree) -> str:
    return ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)}))


def _platform(data: PyTree) -> str:
    return next(iter(jax.tree.leaves(data)[0].devices())).platform
