"""Orders: which row comes when."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int

from jaxgd.inputs import check_count
from jaxgd.keys import Key
from jaxgd.permutation import all_permuted, permuted


def shuffle(key: Key, n: int, positions: Int[ArrayLike, "*p"] | None = None) -> Int[Array, "..."]:
    """Row numbers of a pseudo-random order of n rows, at the given positions or at all of them.

        order = π_key(positions),   π_key a bijection of {0, …, n-1}: see `jaxgd.permutation`

    Nothing is sorted, and any position's row comes without the others:
    `shuffle(key, n, p) == shuffle(key, n)[p]`. Returns int32, in the shape of `positions`.

    Raises ValueError or TypeError unless n is an integer with 1 ≤ n < 2³¹. Positions outside
    [0, n) are not checked.
    Departs from jax.random.permutation: other orders for the same key, and for n > 256 not all n!
    orders can occur; `tests/test_order.py` says how uniform they are.
    """
    n = check_count("n", n)
    if n >= 2**31:
        raise ValueError(f"n must be below 2**31; got n={n}. Rows are numbered in 32 bits.")
    return all_permuted(key, n) if positions is None else permuted(key, n, jnp.asarray(positions))


def whole(order: Int[ArrayLike, "m"], batch_size: int) -> Int[Array, "rest"]:
    """The order without the short batch at its end, as a DataLoader's drop_last leaves it."""
    order = jnp.asarray(order)
    return order[: order.size - order.size % check_count("batch_size", batch_size)]
