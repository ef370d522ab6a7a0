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
from jaxtyping import ArrayLike, Int, PyTree

from jaxgd.batches import scan_batches
from jaxgd.chunks import in_chunks
from jaxgd.inputs import (
    Optimizer,
    check_batch_size,
    check_count,
    check_order,
    check_params,
    check_run,
    check_state_of,
    check_updates,
    count_examples,
    count_spread,
)
from jaxgd.keys import Key
from jaxgd.keys import row_keys as keys_of_rows
from jaxgd.layouts import Layout, beside
from jaxgd.objective import Loss, Objective, mean
from jaxgd.order import shuffle

Order = Int[ArrayLike, "m"] | None
Update = Callable[[Any, PyTree], tuple[Any, PyTree]]
Epoch = Callable[..., tuple[Any, PyTree]]
Run = Callable[..., tuple[Any, PyTree]]


class State(NamedTuple):
    """What `descend` carries on: the params and the optimizer's state."""

    params: PyTree
    opt_state: PyTree


def init_state(params: PyTree, optimizer: Optimizer) -> State:
    """The state before the first update, each leaf an array of its own that may be donated.

    Raises TypeError for params that are not arrays of real floating-point numbers.
    """
    check_params(params)
    return jax.device_put(strong(State(params, optimizer.init(params))), may_alias=False)


def strong(tree: PyTree) -> PyTree:
    """The tree as arrays with a dtype of their own.

    A weak type, as `jnp.asarray(0.0)` has, is lost in an update: the next call would compile.
    """
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.asarray(a).dtype), tree)


def descend(
    objective: Objective,
    optimizer: Optimizer,
    *,
    has_aux: bool = False,
    value_and_grad: Objective | None = None,
) -> Update:
    """One step down an objective of a batch: `update(state, batch) -> (state, loss)`.

        θ <- θ + optimizer(∇L(θ)),   L(θ) = objective(θ, batch)

    The loss is L before the step, as a PyTorch loop reports it; with `has_aux` the objective
    returns (loss, aux), and so does the update. `value_and_grad(params, batch)` takes the place of
    JAX's, for a gradient of one's own. Optimizers that take them are given `value`, `grad`,
    `value_fn` (a line search, a plateau) and, by that name, `grad_fn` (optax.contrib.sam).

    Raises while tracing for complex params, another optimizer's state, and updates of other shapes.
    """
    gradient = value_and_grad or jax.value_and_grad(objective, has_aux=has_aux)
    value_of = (lambda p, batch: objective(p, batch)[0]) if has_aux else objective
    taken = signature(optimizer.update).parameters.values()
    names = {p.name for p in taken}
    if any(p.kind is Parameter.VAR_KEYWORD for p in taken):
        names |= {"value", "grad", "value_fn"}  # optax's line search refuses what it does not know

    def update(state: Any, batch: PyTree) -> tuple[Any, PyTree]:
        check_state_of(state, optimizer)
        out, grad = gradient(state.params, batch)
        offered = {
            "value": out[0] if has_aux else out,
            "grad": grad,
            "value_fn": lambda p: value_of(p, batch),
            "grad_fn": lambda p, _: gradient(p, batch)[1],
        }
        extra = {name: value for name, value in offered.items() if name in names}
        updates, opt_state = optimizer.update(grad, state.opt_state, state.params, **extra)
        check_updates(updates, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, opt_state=opt_state), out

    return update


def step(loss: Loss, optimizer: Optimizer, *, chunk: int | None = None) -> Update:
    """`descend(mean(loss), optimizer)`: one update on the mean loss of a batch of b examples.

    With a `chunk`, so many rows are worked on at a time (see `jaxgd.chunks`).
    """
    objective = mean(loss)
    gradient = in_chunks(jax.value_and_grad(objective), chunk)
    return descend(in_chunks(objective, chunk), optimizer, value_and_grad=gradient)


def visit(update: Update, batch_size: int, *, batch_sharding: Layout = None) -> Epoch:
    """An epoch of any update: `epoch(state, data, order) -> (state, outs[⌈m/b⌉])`.

    Update j is given rows order[j b : (j+1) b] of the data. An order is any one-dimensional array
    of row numbers; its length m alone says how many updates there are, none for an empty one, and
    where b does not divide m the last batch is the m mod b rows that remain. `order=None` takes
    all rows as they lie. Outs are pytrees, stacked: they must not have the batch's size in their
    shape, unless every batch is full (`whole`). Rows past either end are refused where the order
    is known before tracing, and clamped where it is traced. A batch lies on the data's mesh as
    `batch_sharding` says, such as `PartitionSpec("data")`: see docs/scale.md.

    Raises ValueError while tracing for batch_size > n or of other devices, or another order.
    """
    b = check_batch_size(batch_size)

    def epoch(state: Any, data: PyTree, order: Order = None) -> tuple[Any, PyTree]:
        check_batch_size(b, n := count_examples(data))
        rows, state = check_order(order, n), beside(data, strong(state))
        state, parts = scan_batches(update, state, data, rows, b, batch_sharding)
        return state, jax.tree.map(lambda *outs: jnp.concatenate(outs), *parts)

    return epoch


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
    example is (example, key), the key a function of (key, e, row) alone: see `jaxgd.row_keys`.

    What `order` returns is handed to the epoch as it is; data without arrays have n = 0. Building
    a run is free; jit it, with `donate_argnums=0` to have the state updated in place.
    """
    epochs = check_count("epochs", epochs)

    def run(
        state: Any, data: PyTree, key: Key | None = None, start: Int[ArrayLike, ""] = 0
    ) -> tuple[Any, PyTree]:
        n = count_spread(data)
        check_run(key, start, needs_key=order is not None or row_keys)

        def one_epoch(state: Any, e: Any) -> tuple[Any, PyTree]:
            here: Any = None if key is None else jax.random.fold_in(key, e)
            table = (data, keys_of_rows(here, jnp.arange(n))) if row_keys else data
            return epoch(state, table, None if order is None else order(here, n))

        each = jnp.asarray(start, jnp.int32) + jnp.arange(epochs, dtype=jnp.int32)
        return jax.lax.scan(one_epoch, strong(state), each)

    return run
