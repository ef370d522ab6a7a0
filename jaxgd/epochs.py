"""The three descents, as epochs: full-batch, stochastic and mini-batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxgd.batches import gather, scan_rows
from jaxgd.chunks import in_default_chunks
from jaxgd.descent import Epoch, Order, State, descend, step, strong, visit
from jaxgd.inputs import Optimizer, check_count, check_order, count_examples
from jaxgd.layouts import Layout, beside, one_by_one
from jaxgd.linear_row import link_of, row_gradient, takes_rows
from jaxgd.objective import Loss, mean


def gd(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Epoch:
    """An epoch of full-batch descent: `epoch(state, data, order=None) -> (state, losses[1])`.

    One `step` on all n rows, read where they lie: rows are never gathered or permuted, and `order`
    is ignored. `chunk` rows are worked on at a time, by default as many as a CPU's cache holds, or
    on an accelerator as many as keep 1 GiB of activations.
    """
    if chunk is None:
        objective = mean(loss)
        gradient = in_default_chunks(objective, jax.value_and_grad)
        update = descend(in_default_chunks(objective), optimizer, value_and_grad=gradient)
    else:
        update = step(loss, optimizer, chunk=check_count("chunk", chunk))

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Array]:
        del order
        count_examples(data)
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

    Single rows of `supervised(linear, …)` are visited to the same effect, to rounding, and faster:
    see `jaxgd.linear_row`.
    """
    epoch = visit(step(loss, optimizer), batch_size, batch_sharding=batch_sharding)
    found = link_of(loss)
    if found is None or batch_size != 1 or batch_sharding is not None:
        return epoch
    link, precision = found
    update = descend(
        lambda params, example: (loss(params, example), None),
        optimizer,
        has_aux=True,
        value_and_grad=row_gradient(link, precision),
    )

    def of_single_rows(state: Any, data: PyTree, order: Order = None) -> tuple[Any, PyTree]:
        n = count_examples(data)
        rows = check_order(order, n)
        if not takes_rows(loss, getattr(state, "params", None), data, rows):
            return epoch(state, data, rows)
        state, (_, logits) = scan_rows(update, beside(data, strong(state)), data, rows)
        layout, every = one_by_one(data), jnp.arange(n) if rows is None else rows
        lying = rows is None and layout is None
        labels = data[1] if lying else gather(data[1], every, layout)
        # All at once, and not one by one in the loop, where nobody asked for the loss's value.
        return state, jax.vmap(link)(logits, labels)

    return of_single_rows
