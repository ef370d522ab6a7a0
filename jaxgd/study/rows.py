"""Which rows a run visits, at any place of it."""

import jax
from jaxtyping import Array, Int

from jaxgd.keys import Key
from jaxgd.order import shuffle


def rows_at(
    key: Key, epoch: Int[Array, ""], positions: Int[Array, "*p"], n: int
) -> Int[Array, "*p"]:
    """The rows of n at these positions of an epoch of `train(…)(state, data, key)`.

    shuffle(fold_in(key, epoch), n)[positions]
    """
    return shuffle(jax.random.fold_in(key, epoch), n, positions)
