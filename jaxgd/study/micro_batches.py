"""Epochs whose batch size is data: runs of several batch sizes in one program, without padding.

Rows come in micro-batches of a size that divides every batch size. Each adds to the sums of its
batch, and the update is kept where a batch ends: after its last row, or after the epoch's.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxgd.batches import scan_batches
from jaxgd.chunks import wide
from jaxgd.descent import State, descend, strong
from jaxgd.inputs import Optimizer, count_examples
from jaxgd.machine import SECONDS_AN_UPDATED_NUMBER, SECONDS_TO_COMPILE
from jaxgd.objective import Loss, mean

SizedEpoch = Callable[[State, PyTree, Array, Array], tuple[State, Array]]


class Sums(NamedTuple):
    """Over the rows of a batch so far: of the loss, and of its gradient."""

    loss: Float[Array, ""]
    grad: PyTree


class Total(NamedTuple):
    """A sum of many terms, and what rounding has added to it: Kahan's."""

    value: Float[Array, ""]
    excess: Float[Array, ""]

    def plus(self, term: Float[Array, ""]) -> "Total":
        """The sum with one term more."""
        term = term - self.excess
        value = self.value + term
        return Total(value, (value - self.value) - term)


def shared_programs(
    sizes: Iterable[int], n: int, numbers: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Which batch sizes share a program: (micro-batch, its sizes), the largest sizes first.

    Micro-batches are the sizes' greatest common divisor, the size n apart, which the epoch ends in
    any case. The smaller they are, the more updates are made in vain: sizes share a program while
    the updates take less time than another program's compiling. `numbers` are updated a batch size:
    parameters times runs times epochs.
    """
    groups: list[list[int]] = []
    for b in sorted(set(sizes), reverse=True):
        for group in groups:
            in_vain = _updates([*group, b], n) - _updates(group, n) - _updates([b], n)
            if in_vain * numbers * SECONDS_AN_UPDATED_NUMBER < SECONDS_TO_COMPILE:
                group.append(b)
                break
        else:
            groups.append([b])
    return [(_divisor(group, n), tuple(group)) for group in groups]


def _updates(group: list[int], n: int) -> int:
    """How many updates an epoch of these batch sizes makes in one program."""
    return len(group) * -(-n // _divisor(group, n))


def _divisor(sizes: Iterable[int], n: int) -> int:
    return math.gcd(*(b for b in sizes if b != n)) or n


def by_any_size(loss: Loss, optimizer: Optimizer, micro: int) -> SizedEpoch:
    """An epoch of any batch size: `epoch(state, data, order, batch_size) -> (state, mean loss)`.

    Its updates are `minibatch(loss, optimizer, batch_size)`'s, to rounding, for a batch size that
    is a multiple of `micro` or n, and may be traced. The loss is the mean over the epoch's
    examples, each before the update that it is part of.

    Departs from `minibatch`: sums are added up in another order, and the update is made at each
    micro-batch, though kept only where a batch ends. Not for optimizers that evaluate their batch
    again: see `evaluates_again`.
    """
    gradient = jax.value_and_grad(mean(loss))
    update = descend(mean(loss), optimizer, value_and_grad=lambda _, means: tuple(means))

    def epoch(state: State, data: PyTree, order: Array, batch_size: Array) -> tuple[State, Array]:
        n = count_examples(data)

        def add(carry: Any, rows: PyTree) -> tuple[Any, None]:
            state, sums, total, done = carry
            r = count_examples(rows)
            value, grad = jax.tree.map(lambda a: wide(a) * r, gradient(state.params, rows))
            sums, done = jax.tree.map(jnp.add, sums, Sums(value, grad)), done + r
            ends = (done % batch_size == 0) | (done == n)
            seen = (done - 1) % batch_size + 1
            means = Sums(sums.loss / seen.astype(value.dtype), _mean(sums.grad, seen, state.params))
            after, _ = update(state, means)
            sums = _where(ends, jax.tree.map(jnp.zeros_like, sums), sums)
            return (_where(ends, after, state), sums, total.plus(value), done), None

        nothing = _no_sums(loss, state.params, data)
        zero = jnp.zeros_like(nothing.loss)
        start = (strong(state), nothing, Total(zero, zero), jnp.int32(0))
        (state, _, total, _), _ = scan_batches(add, start, data, order, micro)
        return state, total.value / n

    return epoch


def by_one_size(epoch: Callable[..., Any], batch_size: int) -> SizedEpoch:
    """The same signature for an epoch of one size, such as `minibatch(loss, optimizer, b)`."""

    def sized(state: State, data: PyTree, order: Array, _: Array) -> tuple[State, Array]:
        state, losses = epoch(state, data, order)
        n, losses = count_examples(data), wide(losses)
        last = n - (len(losses) - 1) * batch_size
        return state, (jnp.sum(losses[:-1]) * batch_size + losses[-1] * last) / n

    return sized


def evaluates_again(loss: Loss, optimizer: Optimizer, params: PyTree, data: PyTree) -> bool:
    """Whether an update evaluates its batch more than once, as line searches and SAM do."""
    calls = list[Any]()

    def counted(fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            calls.append(fn)
            return fn(*given)

        return call

    objective = mean(loss)
    update = descend(
        counted(objective), optimizer, value_and_grad=counted(jax.value_and_grad(objective))
    )
    row = jax.tree.map(lambda a: a[:1], data)
    jax.eval_shape(lambda p, row: update(State(p, optimizer.init(p)), row), params, row)
    return len(calls) > 1


def _mean(sums: PyTree, seen: Int[Array, ""], like: PyTree) -> PyTree:
    return jax.tree.map(lambda a, p: (a / seen.astype(a.dtype)).astype(p.dtype), sums, like)


def _where(here: Bool[Array, ""], a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(here, a, b), a, b)


def _no_sums(loss: Loss, params: PyTree, data: PyTree) -> Sums:
    row = jax.tree.map(lambda a: a[:1], data)
    like = jax.eval_shape(jax.value_and_grad(mean(loss)), params, row)
    return Sums(*jax.tree.map(lambda a: wide(jnp.zeros(a.shape, a.dtype)), like))
