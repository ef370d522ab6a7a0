"""The friendly host loop: checks its input, compiles one epoch, runs it, keeps the history."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgd.descent import Epoch, Key, State, gd, init, minibatch, train
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_data,
    check_key,
    check_like,
    check_loss,
    check_optimizer,
    check_params,
    count_examples,
)
from jaxgd.objective import Loss, mean_loss
from jaxgd.optim import by_name

Progress = Callable[["Progressed"], None]


class Progressed(NamedTuple):
    """What a progress callback is told after each epoch."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class History:
    """What a run recorded.

    `loss` [epochs, updates] is each update's mean batch loss before the update, `epoch_loss`
    [epochs] their mean over the examples of the epoch, `validation_loss` [epochs] the mean loss
    of the validation rows after the epoch (None without any). Compiling and running are timed
    apart, in seconds. `dtype` is the precision the params were trained in.
    """

    loss: np.ndarray
    epoch_loss: np.ndarray
    validation_loss: np.ndarray | None
    compile_seconds: float
    run_seconds: float
    dtype: str


class Fit(NamedTuple):
    """A finished run: the trained params, the state to go on from, and the history."""

    params: PyTree
    state: State
    history: History


class Diverged(FloatingPointError):
    """A loss or parameters that are not finite; `.fit` holds the run up to that epoch's start."""

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit


def fit(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Optimizer | str,
    epochs: int,
    batch_size: int | None = None,
    epoch: Epoch | None = None,
    key: Key,
    shuffle: bool = True,
    validation: PyTree | None = None,
    progress: bool | Progress = False,
) -> Fit:
    """The result of training on data for a number of epochs: `Fit(params, state, history)`.

    `params` may be the `state` of an earlier fit, to go on from where it stopped.
    `optimizer` is any of optax's, or the name of one of torch's in `jaxgd.optim`, with torch's
    defaults. `batch_size=None` is full-batch descent, 1 is SGD, anything between is mini-batch;
    `epoch` takes the place of `gd` or `minibatch`, such as `blocked_sgd(…)` with batch_size=1.
    Epoch e visits the rows in the order `shuffle(fold_in(key, e), n)`, as `train` does: the losses
    are those of `train`, to rounding. `validation` is data like `data` on which the loss is
    evaluated after each epoch; `progress` is True for a line a epoch on standard error, or a
    function of `Progressed`.

    Raises, before anything is compiled, ValueError or TypeError for data that are empty, ragged,
    not finite or not numbers, params that are not floating point, a loss that is not a scalar, an
    optimizer that changes a dtype, an epoch that does not fit batch_size, and a batch size or
    number of epochs out of range; while running, `Diverged` at the end of the first epoch with a
    loss or parameters that are not finite.
    """
    if isinstance(optimizer, str):
        optimizer = by_name(optimizer)()
    data, validation, key = _checked(
        loss, params, data, optimizer, epochs, batch_size, key, validation
    )
    if epoch is None:
        epoch = (
            gd(loss, optimizer) if batch_size is None else minibatch(loss, optimizer, batch_size)
        )
    state = params if isinstance(params, State) else init(params, optimizer)
    one_epoch = train(epoch, 1, shuffle=shuffle)

    def segment(state: State, data: PyTree, validation: PyTree, key: Key) -> tuple:
        state, losses = one_epoch(state, data, key)
        held_out = None if validation is None else mean_loss(loss, state.params, validation)
        return state, losses[0], _all_finite(state.params), held_out

    record = _Record(count_examples(data), batch_size, _dtype_of(state.params))
    start = time.perf_counter()
    # The state is not donated: should an epoch diverge, the state before it is handed back.
    lowered = jax.jit(segment).lower(state, data, validation, key)
    record.check_updates(lowered.out_info[1].shape[0])
    run_segment = lowered.compile()
    record.compile_seconds = time.perf_counter() - start

    report = _reporter(progress)
    for _ in range(epochs):
        began = time.perf_counter()
        next_state, losses, finite, held_out = run_segment(state, data, validation, key)
        losses = np.asarray(losses)
        record.run_seconds += time.perf_counter() - began
        if not (np.isfinite(losses).all() and finite):
            raise Diverged(
                _divergence(int(state.epoch), losses), Fit(state.params, state, record.history())
            )
        state = next_state
        record.add(losses, held_out)
        if report is not None:
            report(record.progressed(epochs))
    return Fit(state.params, state, record.history())


class _Record:
    """The history while it is being written."""

    def __init__(self, n: int, batch_size: int | None, dtype: str) -> None:
        self.batch_size, self.dtype = batch_size, dtype
        self.batches = _batch_sizes(n, n if batch_size is None else batch_size)
        self.compile_seconds = self.run_seconds = 0.0
        self.loss: list[np.ndarray] = []
        self.epoch_loss: list[float] = []
        self.validation_loss: list[float] = []

    def check_updates(self, updates: int) -> None:
        """Raise ValueError if the epoch makes other updates than batch_size says."""
        if updates != len(self.batches):
            raise ValueError(
                f"epoch must make the updates of batch_size; got {updates} of them with "
                f"batch_size={self.batch_size!r}, which makes {len(self.batches)}. "
                "Pass its batch_size, such as 1 for blocked_sgd."
            )

    def add(self, losses: np.ndarray, held_out: Array | None) -> None:
        self.loss.append(losses)
        self.epoch_loss.append(float(np.average(losses, weights=self.batches)))
        if held_out is not None:
            self.validation_loss.append(float(held_out))

    def progressed(self, epochs: int) -> Progressed:
        held_out = self.validation_loss[-1] if self.validation_loss else None
        return Progressed(len(self.loss), epochs, self.epoch_loss[-1], held_out)

    def history(self) -> History:
        return History(
            loss=np.array(self.loss).reshape(-1, len(self.batches)),
            epoch_loss=np.array(self.epoch_loss),
            validation_loss=np.array(self.validation_loss) if self.validation_loss else None,
            compile_seconds=self.compile_seconds,
            run_seconds=self.run_seconds,
            dtype=self.dtype,
        )


def _checked(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    optimizer: Optimizer,
    epochs: Any,
    batch_size: Any,
    key: Any,
    validation: PyTree | None,
) -> tuple[PyTree, PyTree | None, Key]:
    """The run's data and key on the device, once every rule has been checked."""
    check_count("epochs", epochs)
    key = check_key(key)
    if isinstance(params, State):
        params = params.params
    check_params(params)
    data = check_data("data", data)
    if batch_size is not None:
        check_batch_size(batch_size, count_examples(data))
    if validation is not None:
        validation = check_like(check_data("validation", validation), data)
    check_loss(loss, params, data)
    check_optimizer(optimizer, params)
    return data, validation, key


def _all_finite(tree: PyTree) -> Array:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def _divergence(epoch: int, losses: np.ndarray) -> str:
    """What to say of an epoch, counted from 0, that left a loss or parameters not finite."""
    lost = np.flatnonzero(~np.isfinite(losses))
    what = (
        f"the loss must stay finite; it was {losses[lost[0]]} at epoch {epoch}, update {lost[0]} "
        "(both counted from 0)."
        if lost.size
        else f"parameters must stay finite; they were not after epoch {epoch} (counted from 0)."
    )
    return f"{what} Use a smaller learning rate, or scale the features."


def _batch_sizes(n: int, b: int) -> list[int]:
    return [b] * (n // b) + [n % b] * (n % b > 0)


def _dtype_of(params: PyTree) -> str:
    return ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)}))


def _reporter(progress: bool | Progress) -> Progress | None:
    if callable(progress):
        return progress
    return _print_progress if progress else None


def _print_progress(now: Progressed) -> None:
    """Rewrite one line of standard error."""
    held_out = "" if now.validation_loss is None else f"  validation {now.validation_loss:.4g}"
    end = "\n" if now.epoch == now.epochs else ""
    line = f"epoch {now.epoch}/{now.epochs}  loss {now.loss:.4g}{held_out}"
    print(
        f"\r{line:<79}",
        end=end,
        file=sys.stderr,
        flush=True,
    )
