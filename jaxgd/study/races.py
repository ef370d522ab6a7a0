"""Runs of one batch size at several learning rates and seeds, until the mean loss is low enough."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from jaxgd.batches import gather
from jaxgd.descent import State, step, strong
from jaxgd.inputs import OfRate, count_examples
from jaxgd.keys import Key
from jaxgd.objective import Loss
from jaxgd.study.rows import rows_at
from jaxgd.study.short_runs import mean_of

# Twice as many half-samples of the seeds.
_SHUFFLES = 16


class Race(NamedTuple):
    """When the mean over seeds reached the target, by learning rate; ∞ where it was not waited for.

    hits[:, -1] is that of all seeds, and the others of halves of them (see `samples_of`), in
    updates, between two of them by how far the loss had to fall. `ends` are the mean losses at the
    end of the race, and `states` those of every lane.
    """

    hits: Float[Array, "rates samples"]
    ends: Float[Array, "rates"]
    states: PyTree


class _Now(NamedTuple):
    t: Int[Array, ""]
    epoch: Int[Array, ""]
    offset: Int[Array, ""]
    states: PyTree
    averages: Float[Array, "rates samples"]
    hits: Float[Array, "rates samples"]


def race(loss: Loss, optimizer: OfRate, batch_size: int) -> Callable[..., Race]:
    """`run(state, data, judged, keys, target, rates, most) -> Race`: every lane from one state.

    A lane is a learning rate and a seed; lanes of one seed see the same batches. Those follow one
    another through shuffles of the rows, across the ends of epochs, so that all are of one size.
    The loss is that of the rows `judged`, after every update. The race ends when some rate has
    reached the target for every mean over seeds, or after `most` updates.
    """

    def run(
        state: State,
        data: PyTree,
        judged: PyTree,
        keys: Shaped[Array, "seeds *words"],
        target: Float[Array, ""],
        rates: Float[Array, "rates"],
        most: Int[Array, ""],
    ) -> Race:
        n, lanes = count_examples(data), (rates.size, keys.shape[0])
        batch_of = jax.vmap(lambda key, epoch, offset: gather(
            data, _rows(key, epoch, offset, n, batch_size)), (0, None, None))  # fmt: skip

        samples = samples_of(lanes[1])

        def judge(states: PyTree) -> Float[Array, "rates samples"]:
            losses = jax.vmap(jax.vmap(lambda p: mean_of(loss, p, judged)))(states.params)
            weights = jnp.asarray(samples, losses.dtype)[None]
            # A seed that is left out spoils nothing, if it diverges.
            return jnp.where(weights > 0, losses[:, None] * weights, 0).sum(-1)

        def one(state: State, rate: Array, batch: PyTree) -> State:
            return step(loss, optimizer(rate))(state, batch)[0]

        every = jax.vmap(jax.vmap(one, (0, None, 0)), (0, 0, None))

        def update(now: _Now) -> _Now:
            states = every(now.states, rates, batch_of(keys, now.epoch, now.offset))
            averages = judge(states)
            part = (now.averages - target) / (now.averages - averages)
            first = (averages <= target) & jnp.isinf(now.hits)
            hits = jnp.where(first, now.t.astype(part.dtype) + part, now.hits)
            end = now.offset + batch_size
            over = (end >= n).astype(end.dtype)
            return _Now(now.t + 1, now.epoch + over, end - n * over, states, averages, hits)

        def goes_on(now: _Now) -> Array:
            return (now.t < most) & jnp.any(jnp.isinf(jnp.min(now.hits, axis=0)))

        states = jax.tree.map(lambda a: jnp.broadcast_to(a, (*lanes, *a.shape)), strong(state))
        start = judge(states)
        zero = jnp.asarray(0, jnp.int32)
        first = _Now(zero, zero, zero, states, start, jnp.full_like(start, jnp.inf))
        last = jax.lax.while_loop(goes_on, update, first)
        return Race(last.hits, last.averages[:, -1], last.states)

    return run


def _rows(key: Key, epoch: Any, offset: Any, n: int, b: int) -> Int[Array, "b"]:
    """The b rows from a position of an epoch on, those beyond its end from the next."""
    positions = offset + jnp.arange(b, dtype=jnp.int32)
    here = rows_at(key, epoch, positions % n, n)
    if n % b == 0:
        return here
    following = rows_at(key, epoch + 1, positions % n, n)
    return jnp.where(positions < n, here, following)


def samples_of(seeds: int) -> Float[np.ndarray, "samples seeds"]:
    """Weights of means: over half of the seeds, or one more, in several ways, and last over all.

    When a mean reaches the target jumps as its seeds change, so that leaving out one of them would
    tell too little of that. Halves are both ends of a few fixed shuffles.
    """
    order = np.random.default_rng(0).permuted(np.tile(np.arange(seeds), (_SHUFFLES, 1)), axis=1)
    kept = seeds - seeds // 2
    halves = np.concatenate([order < kept, order >= seeds - kept])
    return np.concatenate([halves / kept, np.full((1, seeds), 1 / seeds)])
