"""Short runs at rates that are data: a ramp of rates, or many clean runs as one program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxgd.batches import gather
from jaxgd.chunks import in_chunks, rows_at_a_time
from jaxgd.descent import State, init_state, step
from jaxgd.inputs import OfRate, count_examples
from jaxgd.keys import Key
from jaxgd.layouts import one_by_one
from jaxgd.objective import Loss, mean
from jaxgd.study.rows import rows_at

Rows = Int[Array, "updates b"] | None

# On so many rows the mean loss of a run is measured: of all rows it would cost more than the run.
_MEASURED_ROWS = 4096


@partial(jax.jit, static_argnames=("n", "batch_size", "updates", "orders"))
def full_batches(
    key: Key | None, n: int, batch_size: int, updates: int, orders: int = 1
) -> Int[Array, "orders updates b"]:
    """The rows of so many updates: the full batches of one epoch after another, `orders` times.

    Epoch e of run i comes in the order `shuffle(fold_in(fold_in(key, i), e), n)`, as in `train`
    with the key fold_in(key, i); without a key rows come as they lie.
    """
    epoch, batch = jnp.divmod(jnp.arange(updates, dtype=jnp.int32), n // batch_size)
    each = jnp.arange(batch_size, dtype=jnp.int32)
    positions = batch_size * batch[:, None] + each[None]
    if key is None:
        return jnp.broadcast_to(positions, (orders, *positions.shape))

    def of_run(key: Key) -> Int[Array, "updates b"]:
        return jax.lax.map(lambda at: rows_at(key, at[0], at[1], n), (epoch, positions))

    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(orders))
    return jax.lax.map(of_run, keys)


def measured(data: PyTree) -> PyTree:
    """The rows that runs are judged on: all, or 4096 of them, evenly spread."""
    n = count_examples(data)
    if n <= _MEASURED_ROWS:
        return data
    return gather(data, jnp.asarray(np.arange(_MEASURED_ROWS) * n // _MEASURED_ROWS))


def mean_of(loss: Loss, params: PyTree, rows: PyTree) -> Float[Array, ""]:
    """The mean loss of rows, a chunk of them at a time: runs side by side keep no more of each."""
    return in_chunks(mean(loss), rows_at_a_time(rows))(params, rows)


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

    Without rows each update takes all of the data, a chunk at a time.
    """
    layout = one_by_one(data)
    chunk = rows_at_a_time(data) if rows is None else None

    def update(state: State, at: tuple[Array, Array | None]) -> tuple[State, Array]:
        rate, batch = at
        taken = data if batch is None else gather(data, batch, layout)
        return step(loss, optimizer(rate), chunk=chunk)(state, taken)

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
    return losses, mean_of(loss, params, measured(data))


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
    end = mean_of(loss, state.params, measured(data))
    return jnp.where(jnp.isfinite(losses).all() & jnp.isfinite(end), end, jnp.inf)
