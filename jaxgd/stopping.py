"""When to stop: a loss of held-out rows that no longer falls, and the params of its lowest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxgd.arguments import Patience as Patience
from jaxgd.arguments import check_patience as check_patience
from jaxgd.descent import Epoch, strong, train
from jaxgd.inputs import check_count
from jaxgd.keys import Key
from jaxgd.order import shuffle


class Best(NamedTuple):
    """The lowest loss so far, the params it was measured with, and the epochs since."""

    params: PyTree
    loss: Float[Array, ""]
    waited: Int[Array, ""]


class Stopped(NamedTuple):
    """A run that may have stopped early: its last state, its best, and what each epoch gave.

    `outs` [epochs, …] and `values` [epochs] hold NaN (or 0, where there is none) for the epochs
    that were not run; `epochs` is the number of those that were.
    """

    state: Any
    best: Best
    outs: PyTree
    values: Float[Array, "epochs"]
    epochs: Int[Array, ""]


def nothing_yet(params: PyTree, dtype: Any = jnp.float32) -> Best:
    """The best before the first epoch: any loss is lower."""
    return Best(params, jnp.asarray(jnp.inf, dtype), jnp.asarray(0, jnp.int32))


def watch(best: Best, params: PyTree, value: Float[Array, ""], patience: Patience) -> Best:
    """The best after another epoch that left these params and this loss.

        lower = value < best - min_change

    A NaN is never lower.
    """
    lower = value < best.loss - jnp.asarray(patience.min_change, value.dtype)
    kept = jax.tree.map(lambda new, old: jnp.where(lower, new, old), params, best.params)
    return Best(kept, jnp.where(lower, value, best.loss), jnp.where(lower, 0, best.waited + 1))


def has_waited(best: Best, patience: Patience) -> Bool[Array, ""]:
    """Whether the patience is at its end."""
    return best.waited >= patience.epochs


def train_until(
    epoch: Epoch,
    epochs: int,
    evaluate: Callable[[PyTree, PyTree], Float[Array, ""]],
    patience: Patience | int,
    *,
    order: Callable[[Key, int], Any] | None = shuffle,
    row_keys: bool = False,
) -> Callable[..., Stopped]:
    """A run that stops early: `run(state, data, held_out, key, start=0) -> Stopped`.

    It is `train` of one epoch after another, at most `epochs`, until `evaluate(params, held_out)`
    has not fallen for as many as the patience says. A pure function: jit it, or vmap it, where each
    lane stops by itself and the whole when the last one does. It has no reverse mode
    (`lax.while_loop`). `fit(…, patience=…)` decides by the same functions.

    Raises ValueError or TypeError for counts that are none and a min_change that is not a number of
    at least 0.
    """
    epochs = check_count("epochs", epochs)
    waits = check_patience(patience)
    one = train(epoch, 1, order=order, row_keys=row_keys)

    def run(
        state: Any, data: PyTree, held_out: PyTree, key: Key | None = None, start: Any = 0
    ) -> Stopped:
        state, start = strong(state), jnp.asarray(start, jnp.int32)
        of_one = jax.eval_shape(one, state, data, key, start)[1]
        value = jax.eval_shape(evaluate, state.params, held_out)
        outs = jax.tree.map(lambda a: _unmade((epochs, *a.shape[1:]), a.dtype), of_one)
        best = nothing_yet(state.params, value.dtype)
        values = _unmade((epochs,), value.dtype)

        def goes_on(now: Stopped) -> Array:
            return (now.epochs < epochs) & ~has_waited(now.best, waits)

        def one_more(now: Stopped) -> Stopped:
            state, out = one(now.state, data, key, start + now.epochs)
            value = evaluate(state.params, held_out)
            outs = jax.tree.map(lambda all, new: all.at[now.epochs].set(new[0]), now.outs, out)
            values = now.values.at[now.epochs].set(value)
            best = watch(now.best, state.params, value, waits)
            return Stopped(state, best, outs, values, now.epochs + 1)

        first = Stopped(state, best, outs, values, jnp.asarray(0, jnp.int32))
        return jax.lax.while_loop(goes_on, one_more, first)

    return run


def _unmade(shape: tuple[int, ...], dtype: Any) -> Array:
    """Room for what is not made yet."""
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)
