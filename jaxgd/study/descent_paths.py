"""What a batch's noise does to a descent: its path, its sharpness, and what its loss costs."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxgd.chunks import rows_at_a_time
from jaxgd.descent import State, init_state, step, train, visit
from jaxgd.epochs import gd, minibatch
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_made,
    check_untraced,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.order import shuffle
from jaxgd.study.curvature import sharpness
from jaxgd.study.short_runs import mean_of

_TIMED = 3

Coordinates = Callable[[PyTree], Float[Array, "2"]]


class DescentPath(NamedTuple):
    """One descent as it went: at the start and after each of its epochs, and its path in between.

    `losses` and `sharpness` [epochs + 1] are those of all rows; `path` [updates + 1, 2] holds the
    two coordinates before and after every update, None without any. An epoch visits `examples_each`
    rows in `updates_each` updates and takes `seconds_each`, with nothing recorded.
    """

    batch_size: int | None
    losses: Float[np.ndarray, "epochs"]
    sharpness: Float[np.ndarray, "epochs"]
    path: Float[np.ndarray, "updates 2"] | None
    updates_each: int
    examples_each: int
    seconds_each: float

    def spent(self) -> dict[str, np.ndarray]:
        """What was spent at each of the losses: epochs, updates, examples and seconds."""
        epochs = np.arange(len(self.losses))
        each = {
            "epochs": 1,
            "updates": self.updates_each,
            "examples": self.examples_each,
            "seconds": self.seconds_each,
        }
        return {name: epochs * cost for name, cost in each.items()}


def stability(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_sizes: Sequence[int | None] = (None, 1, 32),
    key: Key,
    coordinates: Coordinates | None = None,
    preconditioner: Callable[[State], PyTree] | None = None,
    iterations: int = 16,
    timed: bool = True,
) -> tuple[DescentPath, ...]:
    """Descents from one start that differ in the size of their batches alone, as they went.

    A `DescentPath` for each of `batch_sizes`, None being full-batch descent: the run
    `train(minibatch(loss, optimizer, b), epochs)`, or of `gd`, with the same key.
    `coordinates(params) -> [2]` says what of the params is drawn as its path; of two numbers in all
    they are these, in their order. `preconditioner(state)` gives the diagonal in whose metric the
    sharpness is meant, such as Adam's: see `adam_preconditioner`; each is `iterations` steps of
    Lanczos, see `sharpness`.

    Seconds are the fastest of three warm runs of the compiled training on this machine, NaN unless
    `timed`.

    Raises ValueError or TypeError for settings out of range, and inside jit.
    Departs from those runs: nothing, to rounding; params are looked at and put back.
    """
    check_untraced("stability", "Call it outside.", params, data, key)
    check_made(optimizer)
    epochs, n = check_count("epochs", epochs), count_examples(data)
    sizes = [n if b is None else check_batch_size(b, n) for b in batch_sizes]
    if coordinates is None and ravel_pytree(params)[0].size == 2:
        coordinates = _all_numbers
    measure = partial(_measured, loss, preconditioner, iterations)
    state = init_state(params, optimizer)
    start = jax.jit(measure)(state, data)
    paths = []
    for b, size in zip(batch_sizes, sizes, strict=True):
        descent = gd(loss, optimizer) if b is None else minibatch(loss, optimizer, size)
        chunk = rows_at_a_time(data) if b is None else None
        update = partial(_watched, step(loss, optimizer, chunk=chunk), coordinates)
        seconds = _seconds(train(descent, epochs), state, data, key) if timed else float("nan")
        epoch = partial(_measured_epoch, visit(update, size), measure)
        record = jax.jit(train(epoch, epochs, order=None if b is None else shuffle))
        _, (points, after) = record(state, data, key)
        losses, sharp = (np.append(at, each) for at, each in zip(start, after, strict=True))
        path = None
        if coordinates is not None:
            path = np.concatenate([coordinates(params)[None], np.reshape(points, (-1, 2))])
        paths.append(DescentPath(b, losses, sharp, path, -(-n // size), n, seconds / epochs))
    return tuple(paths)


def _measured_epoch(
    epoch: Callable, measure: Callable, state: State, data: PyTree, order: Any
) -> tuple[State, tuple[Any, Any]]:
    """The epoch, with its points and what is measured after it."""
    state, points = epoch(state, data, order)
    return state, (points, measure(state, data))


def _watched(
    update: Callable, coordinates: Coordinates | None, state: State, batch: PyTree
) -> tuple[State, Any]:
    state, _ = update(state, batch)
    return state, None if coordinates is None else coordinates(state.params)


def _measured(
    loss: Loss, preconditioner: Any, iterations: int, state: State, data: PyTree
) -> tuple[Array, Array]:
    """The mean loss of all rows, and its sharpness."""
    metric = None if preconditioner is None else preconditioner(state)
    bend = sharpness(
        mean(loss),
        state.params,
        data,
        preconditioner=metric,
        iterations=iterations,
        chunk=rows_at_a_time(data),
    )
    return mean_of(loss, state.params, data), bend.value


def _all_numbers(params: PyTree) -> Float[Array, "2"]:
    return ravel_pytree(params)[0]


def _seconds(run: Callable, *given: Any) -> float:
    """The fastest of a few runs, once compiled."""
    compiled = jax.jit(run).lower(*given).compile()
    taken = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        taken.append(time.perf_counter() - began)
    return min(taken)
