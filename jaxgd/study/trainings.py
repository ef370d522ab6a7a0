"""A training as a function of all that it starts from, to be differentiated or run many times."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.batches import gather
from jaxgd.descent import State, Update, descend, init_state
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_makes_one,
    check_run,
    count_examples,
)
from jaxgd.keys import Key
from jaxgd.objective import Loss, mean
from jaxgd.study.levels import scan_in_levels
from jaxgd.study.rows import rows_at
from jaxgd.study.weights import weighted_mean

EndOf = Callable[..., PyTree]


def trained(
    loss: Loss,
    optimizer: Callable[..., Optimizer],
    *,
    epochs: int,
    batch_size: int | None = None,
    levels: int = 1,
) -> EndOf:
    """The params that a run ends with: `end(settings, params, data, key, weights=None) -> params`.

    The run `train(minibatch(loss, optimizer(**settings), batch_size), epochs)` from
    `init_state(params, …)`, to rounding; with `batch_size=None` that of `gd`, which needs no key.
    With weights [n], one a row, the objective is `weighted_mean(loss)`.

    It is a pure function of all its arguments, to be jitted, differentiated by either mode and
    mapped; a reverse derivative keeps c T^(1/c) states with c `levels` (see `scan_in_levels`).
    A schedule is a setting: `optimizer=lambda rates: optax.sgd(lambda count: rates[count])`.

    Raises ValueError for another batch size, or weights that are not one a row, and TypeError for
    an optimizer that is made already.
    Departs from that run: rows come one shuffled batch at a time, and weights of one add roundings;
    it keeps no losses.
    """
    check_makes_one(optimizer)
    epochs, levels = check_count("epochs", epochs), check_count("levels", levels)

    def end(
        settings: Mapping[str, Any],
        params: PyTree,
        data: PyTree,
        key: Key | None = None,
        weights: Float[Array, "n"] | None = None,
    ) -> PyTree:
        made = optimizer(**settings)
        n = count_examples(data)
        check_weights(weights, n)
        b = check_batch_size(n if batch_size is None else batch_size, n)
        check_run(key, 0, needs_key=batch_size is not None)
        update = descend(mean(loss) if weights is None else weighted_mean(loss), made)
        if key is None or batch_size is None:
            step, look_up = whole_batches(update, data, weights)
        else:
            step, look_up = shuffled_batches(update, data, weights, n, b, key)
        updates = epochs * math.ceil(n / b)
        state, _ = scan_in_levels(step, init_state(params, made), updates, levels, look_up)
        return state.params

    return end


def whole_batches(update: Update, data: PyTree, weights: Array | None) -> tuple[Callable, Callable]:
    """An update on all rows as they lie, at every step."""
    batch = data if weights is None else (data, weights)
    return lambda state, _: (update(state, batch)[0], None), jnp.asarray


def shuffled_batches(
    update: Update, data: PyTree, weights: Array | None, n: int, b: int, key: Key
) -> tuple[Callable, Callable]:
    """Update j of a run, on its batch of the shuffled rows of epoch j // ⌈n/b⌉."""
    look_up = partial(rows_of_updates, key=key, n=n, b=b, weights=weights)
    short = n % b

    def of(state: State, rows: Array, weights: Array | None, size: int) -> State:
        batch = gather(data, rows[:size])
        return update(state, batch if weights is None else (batch, weights[:size]))[0]

    def step(state: State, at: tuple[Array, Array, Array | None]) -> tuple[State, None]:
        is_last, rows, weights = at
        if not short:
            return of(state, rows, weights, b), None
        either = (partial(of, size=short), partial(of, size=b))
        return jax.lax.cond(is_last, *either, state, rows, weights), None

    return step, look_up


def rows_of_updates(
    updates: Int[Array, "steps"], *, key: Key, n: int, b: int, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Whether each update is its epoch's last, its rows [steps, b], and their weights.

    Where an epoch's last batch is short, only the first n mod b of its rows count.
    """
    epoch, batch = jnp.divmod(updates, math.ceil(n / b))
    at = jnp.minimum(b * batch[:, None] + jnp.arange(b)[None], n - 1)
    rows = jax.vmap(lambda epoch, at: rows_at(key, epoch, at, n))(epoch, at)
    is_last = batch == math.ceil(n / b) - 1
    return is_last, rows, None if weights is None else weights[rows]


def check_weights(weights: Any, n: int) -> None:
    """ValueError unless there is a weight for each of n rows, or none at all."""
    if weights is not None and jnp.shape(weights) != (n,):
        raise ValueError(
            f"weights must be one a row, of shape ({n},); got shape {jnp.shape(weights)}. "
            "Use jax.numpy.ones(n) to weigh all alike."
        )
