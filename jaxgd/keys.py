"""Where an update's randomness comes from: a key by update, or a key by row."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int, PRNGKeyArray, PyTree, Shaped, UInt32

Key = PRNGKeyArray | UInt32[Array, "2"]


def keyed(
    update: Callable[[Any, PyTree, Key], tuple[Any, PyTree]],
) -> Callable[[Any, PyTree], tuple[Any, PyTree]]:
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


def row_keys(key: Key, rows: Int[ArrayLike, "m"]) -> Shaped[Array, "m ..."]:
    """A random key for each row of an epoch with this key: a function of the key and row alone.

        fold_in(fold_in(key, 2³² - 1), row),   key = fold_in(run's key, epoch)

    So what is drawn with it is the same whatever the batch size, the order, the devices or the
    interruptions. The first fold keeps it apart from the words that `shuffle` draws from the key.
    """
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return fold(jax.random.fold_in(key, jnp.uint32(2**32 - 1)), jnp.asarray(rows))
