"""An epoch that is walked from the host, one compiled update at a time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxgd.batches import gather
from jaxgd.descent import Epoch, Order, Update, strong
from jaxgd.inputs import check_batch_size, check_order, check_untraced, count_examples


def walk(update: Update, batch_size: int | None = None) -> Epoch:
    """`visit` from the host: `epoch(state, data, order) -> (state, outs[⌈m/b⌉])`.

    For programs with convolutions on a CPU, whose gradients XLA computes many times slower inside
    a loop than outside (docs/one-hash.md), and for data that come from an iterator: with
    `batch_size=None`, `epoch(state, batches)` takes any iterable of batches, as they come. It
    cannot be traced, and an order is read on the host.

    Raises what `visit` raises, and TypeError under jit, grad or vmap.
    """
    if batch_size is not None:
        batch_size = check_batch_size(batch_size)
    one, rows_of = jax.jit(update), jax.jit(gather)

    def epoch(state: Any, data: Any, order: Order = None) -> tuple[Any, PyTree]:
        check_untraced("walk", "Use visit there.", state, order, data if batch_size else None)
        state, outs = strong(state), []
        if batch_size is None:
            if order is not None:
                raise ValueError("batches come in their own order; got another. Leave it out.")
            batches = iter(data)
        else:
            pieces = _pieces(data, order, batch_size)
            batches = (rows_of(data, rows) for rows in pieces)
        for batch in batches:
            state, out = one(state, batch)
            outs.append(out)
        if not outs:
            return state, of_none(state, data)
        return state, jax.tree.map(_stacked, *outs)

    def of_none(state: Any, data: PyTree) -> PyTree:
        """The outs of no updates: those of one, without it."""
        if batch_size is None:
            raise ValueError("batches must hold at least one batch; got none. Is it exhausted?")
        batch = jax.eval_shape(gather, data, np.arange(batch_size))
        out = jax.eval_shape(update, state, batch)[1]
        return jax.tree.map(lambda a: np.zeros((0, *a.shape), a.dtype), out)

    return epoch


def _pieces(data: PyTree, order: Order, b: int) -> list[np.ndarray]:
    """The row numbers of each batch."""
    n = count_examples(data)
    check_batch_size(b, n)
    order = check_order(order, n)
    rows = np.arange(n, dtype=np.int32) if order is None else np.asarray(order)
    return [rows[i : i + b] for i in range(0, len(rows), b)]


def _stacked(*outs: Array) -> Array | np.ndarray:
    """One out of every update along an axis of updates; on the host, so that nothing compiles."""
    if jnp.issubdtype(jnp.asarray(outs[0]).dtype, jax.dtypes.prng_key):
        return jnp.stack(outs)
    return np.stack(jax.device_get(outs))
