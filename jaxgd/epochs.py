"""The three descents, as epochs: full-batch, stochastic and mini-batch."""

from functools import partial
from typing import Any

import jax
from jaxtyping import Array, PyTree

from jaxgd.batches import gather, scan_rows
from jaxgd.chunks import in_cache, in_chunks
from jaxgd.descent import Epoch, Order, State, descend, step, strong, visit
from jaxgd.inputs import Optimizer, check_count, check_order, count_examples
from jaxgd.layouts import Layout, beside, one_by_one, slice_of
from jaxgd.linear_row import row_gradient, takes_rows
from jaxgd.losses import Supervised
from jaxgd.models import linear
from jaxgd.objective import Loss, mean


def gd(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Epoch:
    """An epoch of full-batch descent: `epoch(state, data, order=None) -> (state, losses[1])`.

    One `step` on all n rows, read where they lie: rows are never gathered or permuted, and `order`
    is ignored. `chunk` rows are worked on at a time, by default as many as a CPU's cache holds.
    """
    objective = mean(loss)
    of_rows = in_cache if chunk is None else partial(in_chunks, chunk=check_count("chunk", chunk))
    gradient = of_rows(jax.value_and_grad(objective))
    update = descend(of_rows(objective), optimizer, value_and_grad=gradient)

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Array]:
        del order
        state, value = update(beside(data, strong(state)), data)
        return state, value[None]

    return epoch


def sgd(loss: Loss, optimizer: Optimizer) -> Epoch:
    """An epoch of stochastic gradient descent, n updates of a row each: `minibatch` with b = 1."""
    return minibatch(loss, optimizer, 1)


def minibatch(
    loss: Loss, optimizer: Optimizer, batch_size: int, *, batch_sharding: Layout = None
) -> Epoch:
    """An epoch of mini-batch descent: `visit(step(loss, optimizer), batch_size)`.

    Single rows of `supervised(linear, …)` are visited to the same effect, to rounding, at half the
    cost or less: see `jaxgd.linear_row`.
    """
    epoch = visit(step(loss, optimizer), batch_size, batch_sharding=batch_sharding)
    if batch_size != 1 or not isinstance(loss, Supervised) or loss.predict is not linear:
        return epoch
    update = descend(
        lambda params, example: (loss(params, example), None),
        optimizer,
        has_aux=True,
        value_and_grad=row_gradient(loss.loss),
    )

    def of_single_rows(state: Any, data: PyTree, order: Order = None) -> tuple[Any, PyTree]:
        rows = check_order(order, count_examples(data))
        if not takes_rows(state.params, data):
            return epoch(state, data, rows)
        state, (_, logits) = scan_rows(update, beside(data, strong(state)), data, rows)
        layout, y = one_by_one(data), data[1]
        labels = slice_of(y, 0, len(y), layout) if rows is None else gather(y, rows, layout)
        # All at once, and not one by one in the loop, where nobody asked for the loss's value.
        return state, jax.vmap(loss.loss)(logits, labels)

    return of_single_rows
