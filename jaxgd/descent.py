"""Gradient descent as pure functions: an update, an epoch, a run.

    update: (state, batch)       -> (state, loss)
    epoch:  (state, data, order) -> (state, losses)
    run:    (state, data, key)   -> (state, losses)

`data` is a pytree of arrays with one leading axis of n examples; an example is one slice of it.
`loss(params, example)` is any pure function to a scalar, `optimizer` any optax transformation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree, UInt32

from jaxgd.batches import scan_batches
from jaxgd.inputs import Optimizer, check_batch_size, check_count, check_order, count_examples
from jaxgd.objective import Loss, mean_loss, rows_in_cache, value_and_grad
from jaxgd.order import shuffle as shuffled_order

Order = Int[ArrayLike, "n"] | None
Losses = Float[Array, "updates"]
Key = PRNGKeyArray | UInt32[Array, "2"]


class State(NamedTuple):
    """All that a run carries on: params, the optimizer's state and the number of epochs done."""

    params: PyTree
    opt_state: PyTree
    epoch: Int[Array, ""]


Update = Callable[[State, PyTree], tuple[State, Array]]
Epoch = Callable[..., tuple[State, Array]]
Run = Callable[[State, PyTree, Key], tuple[State, Array]]


def init(params: PyTree, optimizer: Optimizer) -> State:
    """The state before the first epoch, every leaf an array with a dtype of its own."""
    params = jax.tree.map(_strong, params)
    opt_state = jax.tree.map(_strong, optimizer.init(params))
    return State(params, opt_state, jnp.zeros((), jnp.int32))


def step(loss: Loss, optimizer: Optimizer) -> Update:
    """One update of a batch of b examples: `update(state, batch) -> (state, loss)`.

        L(θ) = 1/b Σ_i loss(θ, batch_i),   θ <- θ + optimizer(∇L(θ))

    The returned loss is L before the update, as a PyTorch loop reports it. Optimizers that need
    more than the gradient (a line search, a plateau) are given `value`, `grad` and `value_fn`.
    """
    return _step(loss, optimizer, chunk=None)


def gd(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Epoch:
    """An epoch of full-batch descent: `epoch(state, data, order=None) -> (state, losses[1])`.

    One update with the mean gradient of all n rows, read where they lie: rows are never gathered
    or permuted, and `order` is ignored. `chunk` rows are worked on at a time (see
    `jaxgd.objective.value_and_grad`), by default as many as the CPU's cache holds.
    """
    if chunk is not None:
        chunk = check_count("chunk", chunk)

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Losses]:
        del order
        update = _step(loss, optimizer, chunk or rows_in_cache(data))
        state, value = update(state, data)
        return _finished(state), value[None]

    return epoch


def sgd(loss: Loss, optimizer: Optimizer) -> Epoch:
    """An epoch of stochastic gradient descent: `epoch(state, data, order) -> (state, losses[n])`.

    n updates, each with the gradient of one row: `minibatch` with a batch size of 1.
    """
    return minibatch(loss, optimizer, 1)


def minibatch(loss: Loss, optimizer: Optimizer, batch_size: int) -> Epoch:
    """An epoch of mini-batch descent: `epoch(state, data, order) -> (state, losses[⌈n/b⌉])`.

    Update j uses rows order[j b : (j+1) b]. Where b does not divide n, the last batch is the
    n mod b rows that remain: an update of its own that divides by its own size. `order=None`
    takes the rows as they lie. An order's values are not checked: rows past the end are clamped.

    Raises ValueError while tracing if batch_size > n, or if the order does not hold n integers.
    """
    b = check_batch_size(batch_size)
    update = step(loss, optimizer)

    def update_with(state: State, batch: PyTree) -> tuple[State, Losses]:
        state, value = update(state, batch)
        return state, value[None]

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Losses]:
        n = count_examples(data)
        check_batch_size(b, n)
        order = check_order(order, n)
        state, losses = scan_batches(update_with, state, data, order, b)
        return _finished(state), losses

    return epoch


def train(epoch: Epoch, epochs: int, *, shuffle: bool = True) -> Run:
    """A run of epochs: `run(state, data, key) -> (state, losses[epochs, updates])`.

    Epoch e visits the rows in the order `shuffle(fold_in(key, e), n)`, where e counts from
    `state.epoch`: a run continued from a state equals one that was never interrupted. With
    `shuffle=False` every epoch takes the rows as they lie. Building a run is free; jit it, with
    `donate_argnums=0` to have the state updated in place (it is gone then, and with it params that
    `init` was given as arrays).
    """
    epochs = check_count("epochs", epochs)

    def run(state: State, data: PyTree, key: Key) -> tuple[State, Float[Array, "epochs updates"]]:
        n = count_examples(data)

        def one_epoch(state: State, _: None) -> tuple[State, Losses]:
            order = shuffled_order(jax.random.fold_in(key, state.epoch), n) if shuffle else None
            return epoch(state, data, order)

        return jax.lax.scan(one_epoch, state, length=epochs)

    return run


def _step(loss: Loss, optimizer: Optimizer, chunk: int | None) -> Update:
    optimizer = optax.with_extra_args_support(optimizer)

    def update(state: State, batch: PyTree) -> tuple[State, Array]:
        params = state.params
        value, grad = value_and_grad(loss, params, batch, chunk)
        updates, opt_state = optimizer.update(
            grad,
            state.opt_state,
            params,
            value=value,
            grad=grad,
            value_fn=lambda p: mean_loss(loss, p, batch),
        )
        return State(optax.apply_updates(params, updates), opt_state, state.epoch), value

    return update


def _strong(leaf: ArrayLike) -> Array:
    """The array without a weak type: a run would drop it, and its next call compile anew."""
    array = jnp.asarray(leaf)
    return array.astype(array.dtype) if jax.typeof(array).weak_type else array


def _finished(state: State) -> State:
    return state._replace(epoch=state.epoch + 1)
