"""Gradient descent as pure functions: an update, an epoch, a run.

    update: (state, batch)            -> (state, out)
    epoch:  (state, data, order)      -> (state, outs)
    run:    (state, data, key, start) -> (state, outs)

`data` is a pytree of arrays with one leading axis of n examples; an example is one slice of it.
A state is any pytree, and so is an out; an update is any function of this form.
"""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Int, PyTree

from jaxgd.batches import scan_batches
from jaxgd.chunks import in_chunks, rows_in_cache
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_order,
    check_params,
    check_state_of,
    check_updates,
    count_examples,
)
from jaxgd.objective import Loss, Objective, mean, value_and_grad
from jaxgd.order import Key, shuffle
from jaxgd.order import row_keys as keys_of_rows

Order = Int[ArrayLike, "m"] | None
Update = Callable[[Any, PyTree], tuple[Any, PyTree]]
Epoch = Callable[..., tuple[Any, PyTree]]
Run = Callable[..., tuple[Any, PyTree]]


class State(NamedTuple):
    """What `descend` carries on: the params and the optimizer's state."""

    params: PyTree
    opt_state: PyTree


class Position(NamedTuple):
    """How far a training is: the epochs that are done, and of the next one the updates."""

    epoch: int
    update: int = 0


def init_state(params: PyTree, optimizer: Optimizer) -> State:
    """The state before the first update, each leaf an array of its own that may be donated.

    Raises TypeError for params that are not arrays of real floating-point numbers.
    """
    check_params(params)
    return jax.tree.map(jnp.copy, strong(State(params, optimizer.init(params))))


def strong(tree: PyTree) -> PyTree:
    """The tree as arrays with a dtype of their own.

    A weak type, as `jnp.asarray(0.0)` has, is dropped by the first update, and the next call of a
    program that was compiled for it would compile anew.
    """
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.asarray(a).dtype), tree)


def descend(objective: Objective, optimizer: Optimizer, *, has_aux: bool = False) -> Update:
    """One step down an objective of a batch: `update(state, batch) -> (state, loss)`.

        θ <- θ + optimizer(∇L(θ)),   L(θ) = objective(θ, batch)

    The loss is L before the step, as a PyTorch loop reports it; with `has_aux` the objective
    returns (loss, aux), and so does the update. Optimizers that need more than the gradient are
    given `value`, `grad`, `value_fn` and `grad_fn` (a line search, a plateau, optax.contrib.sam).

    Raises TypeError or ValueError while tracing for complex params, a state of another optimizer,
    and updates that do not have the shape of the params.
    """
    value_of = (lambda p, batch: objective(p, batch)[0]) if has_aux else objective
    return _descend(jax.value_and_grad(objective, has_aux=has_aux), value_of, optimizer, has_aux)


def step(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Update:
    """`descend(mean(loss), optimizer)`: one update on the mean loss of a batch of b examples.

    With a `chunk`, so many rows are worked on at a time (see `jaxgd.objective.value_and_grad`).
    """
    if chunk is None:
        return descend(mean(loss), optimizer)
    chunk, of_rows = check_count("chunk", chunk), mean(loss)

    def grad_of(params: PyTree, batch: PyTree) -> tuple[Array, PyTree]:
        return value_and_grad(loss, params, batch, chunk)

    def value_of(params: PyTree, batch: PyTree) -> Array:
        return in_chunks(lambda rows: of_rows(params, rows), batch, chunk)

    return _descend(grad_of, value_of, optimizer, has_aux=False)


def keyed(update: Callable[[Any, PyTree, Key], tuple[Any, PyTree]]) -> Update:
    """An update of (state, key) from one that takes a key as well: `update(state, batch, key)`.

    The key walks along with the state, split once an update: wherever an epoch is cut, the same
    updates get the same keys. For a key by row see `train(…, row_keys=True)`.
    """

    def walked(carry: tuple[Any, Key], batch: PyTree) -> tuple[tuple[Any, Key], PyTree]:
        state, key = carry
        key, use = jax.random.split(key)
        state, out = update(state, batch, use)
        return (state, key), out

    return walked


def visit(update: Update, batch_size: int) -> Epoch:
    """An epoch of any update: `epoch(state, data, order) -> (state, outs[⌈m/b⌉])`.

    Update j is given rows order[j b : (j+1) b] of the data. An order is any one-dimensional array
    of row numbers; its length m alone says how many updates there are, none for an empty one, and
    where b does not divide m the last batch is the m mod b rows that remain. `order=None` takes
    all rows as they lie. Outs are pytrees, stacked: they must not have the batch's size in their
    shape, unless every batch is full (`whole`). Rows past either end are refused where the order
    is known before tracing, and clamped where it is traced.

    Raises ValueError while tracing if batch_size > n, or for an order of other dimensions.
    """
    b = check_batch_size(batch_size)

    def epoch(state: Any, data: PyTree, order: Order = None) -> tuple[Any, PyTree]:
        n = count_examples(data)
        check_batch_size(b, n)
        state, parts = scan_batches(update, strong(state), data, check_order(order, n), b)
        return state, jax.tree.map(lambda *outs: jnp.concatenate(outs), *parts)

    return epoch


def gd(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Epoch:
    """An epoch of full-batch descent: `epoch(state, data, order=None) -> (state, losses[1])`.

    One `step` on all n rows, read where they lie: rows are never gathered or permuted, and `order`
    is ignored. `chunk` rows are worked on at a time, by default as many as the CPU's cache holds.
    """
    if chunk is not None:
        chunk = check_count("chunk", chunk)

    def epoch(state: State, data: PyTree, order: Order = None) -> tuple[State, Array]:
        del order
        update = step(loss, optimizer, chunk=chunk or rows_in_cache(data))
        state, value = update(strong(state), data)
        return state, value[None]

    return epoch


def sgd(loss: Loss, optimizer: Optimizer) -> Epoch:
    """An epoch of stochastic gradient descent, n updates of a row each: `minibatch` with b = 1."""
    return minibatch(loss, optimizer, 1)


def minibatch(loss: Loss, optimizer: Optimizer, batch_size: int) -> Epoch:
    """An epoch of mini-batch descent: `visit(step(loss, optimizer), batch_size)`."""
    return visit(step(loss, optimizer), batch_size)


def train(
    epoch: Epoch,
    epochs: int,
    *,
    order: Callable[[Key, int], Any] | None = shuffle,
    row_keys: bool = False,
) -> Run:
    """A run of epochs: `run(state, data, key, start=0) -> (state, outs[epochs, updates])`.

    Epoch e, counted from `start`, visits the rows `order(fold_in(key, e), n)`: a run that goes on
    from a state with start=e equals one that was never interrupted, and `start` may be traced.
    With `order=None` every epoch takes the rows as they lie, and needs no key. With `row_keys` an
    example is (example, key), the key a function of (key, e, row) alone: see `jaxgd.order`.

    What `order` returns is handed to the epoch as it is; data without arrays have n = 0. Building
    a run is free; jit it, with `donate_argnums=0` to have the state updated in place.
    """
    epochs = check_count("epochs", epochs)

    def run(
        state: Any, data: PyTree, key: Key | None = None, start: Int[ArrayLike, ""] = 0
    ) -> tuple[Any, PyTree]:
        n = count_examples(data) if jax.tree.leaves(data) else 0

        def one_epoch(state: Any, e: Array) -> tuple[Any, PyTree]:
            here = None if key is None else jax.random.fold_in(key, e)
            table = (data, keys_of_rows(here, jnp.arange(n))) if row_keys else data
            return epoch(state, table, None if order is None else order(here, n))

        return jax.lax.scan(one_epoch, strong(state), start + jnp.arange(epochs))

    return run


def _descend(
    value_and_grad_of: Callable[[PyTree, PyTree], tuple[Any, PyTree]],
    value_of: Objective,
    optimizer: Optimizer,
    has_aux: bool,
) -> Update:
    taken = signature(optimizer.update).parameters.values()
    names = {p.name for p in taken}
    if any(p.kind is Parameter.VAR_KEYWORD for p in taken):
        names |= {"value", "grad", "value_fn"}  # optax's line search refuses what it does not know

    def update(state: State, batch: PyTree) -> tuple[State, PyTree]:
        check_state_of(state, optimizer)
        params = state.params
        out, grad = value_and_grad_of(params, batch)
        offered = {
            "value": out[0] if has_aux else out,
            "grad": grad,
            "value_fn": lambda p: value_of(p, batch),
            "grad_fn": lambda p, _: value_and_grad_of(p, batch)[1],
        }
        extra = {name: value for name, value in offered.items() if name in names}
        updates, opt_state = optimizer.update(grad, state.opt_state, params, **extra)
        check_updates(updates, params)
        params = optax.apply_updates(params, updates)
        return state._replace(params=params, opt_state=opt_state), out

    return update
