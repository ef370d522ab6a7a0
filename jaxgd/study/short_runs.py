"""Short runs at rates that are data: a ramp of rates, or many clean runs as one program."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.batches import gather
from jaxgd.descent import State, init_state, step
from jaxgd.inputs import Optimizer, count_examples
from jaxgd.keys import Key
from jaxgd.layouts import one_by_one
from jaxgd.objective import Loss, mean
from jaxgd.order import shuffle, whole

OfRate = Callable[[Any], Optimizer]
Rows = Int[Array, "updates b"] | None

# On so many rows the loss that a run ends with is measured: of all rows, runs side by side would
# keep every row's activations at once.
_MEASURED_ROWS = 4096


@partial(jax.jit, static_argnames=("n", "batch_size", "updates", "orders"))
def full_batches(
    key: Key | None, n: int, batch_size: int, updates: int, orders: int = 1
) -> Int[Array, "orders updates b"]:
    """The rows of so many updates: the full batches of one epoch after another, `orders` times.

    Epoch e of run i comes in the order `shuffle(fold_in(fold_in(key, i), e), n)`, as in `train`
    with the key fold_in(key, i); without a key rows come as they lie.
    """
    epochs = -(-updates // (n // batch_size))
    each = jnp.indices((orders, epochs), jnp.int32).reshape(2, -1).T
    rows = jax.lax.map(lambda at: whole(_order(key, at, n), batch_size), each)
    return rows.reshape(orders, -1, batch_size)[:, :updates]


def _order(key: Key | None, at: Int[Array, "2"], n: int) -> Int[Array, "n"]:
    if key is None:
        return jnp.arange(n, dtype=jnp.int32)
    return shuffle(jax.random.fold_in(jax.random.fold_in(key, at[0]), at[1]), n)


def measured(data: PyTree) -> PyTree:
    """The rows that a run's end is measured on: all, or 4096 of them, evenly spread."""
    n = count_examples(data)
    if n <= _MEASURED_ROWS:
        return data
    return gather(data, jnp.asarray(np.arange(_MEASURED_ROWS) * n // _MEASURED_ROWS))


def run_at(
    loss: Loss,
    optimizer: OfRate,
    params: PyTree,
    data: PyTree,
    rates: Float[Array, "t"],
    rows: Rows,
) -> tuple[State, Float[Array, "t"]]:
    """The state after t updates, update i at the learning rate rates[i], and their losses.

    state, loss_i = step(loss, optimizer(rates[i]))(state, data[rows[i]])
    """
    layout = one_by_one(data)

    def update(state: State, at: tuple[Array, Array | None]) -> tuple[State, Array]:
        rate, batch = at
        taken = data if batch is None else gather(data, batch, layout)
        return step(loss, optimizer(rate))(state, taken)

    return jax.lax.scan(update, init_state(params, optimizer(rates[0])), (rates, rows))


def ramp_losses(
    loss: Loss,
    optimizer: OfRate,
    params: PyTree,
    data: PyTree,
    rates: Float[Array, "t"],
    rows: Rows,
) -> tuple[Float[Array, "t"], Float[Array, ""]]:
    """The losses of a run at rates that change, and the mean loss of what is measured before it."""
    _, losses = run_at(loss, optimizer, params, data, rates, rows)
    return losses, mean(loss)(params, measured(data))


def end_loss(
    loss: Loss,
    optimizer: OfRate,
    updates: int,
    params: PyTree,
    data: PyTree,
    rate: Array,
    rows: Rows,
) -> Float[Array, ""]:
    """The mean loss after so many updates at a rate; infinite if one on the way was not finite."""
    state, losses = run_at(loss, optimizer, params, data, jnp.full(updates, rate), rows)
    end = mean(loss)(state.params, measured(data))
    return jnp.where(jnp.isfinite(losses).all() & jnp.isfinite(end), end, jnp.inf)
