"""Rows of a linear predictor one after another, in a loop that XLA makes a single kernel of."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgd.batches import even_size
from jaxgd.chunks import wide
from jaxgd.machine import DOT_LANES, KERNEL_FEATURES, KERNEL_PART

Weights = tuple[Float[Array, "d"], Float[Array, ""]]
Data = tuple[Float[Array, "n d"], Array]
Slope = Callable[[Array, Array], Array]
Index = Array | np.int32


def in_order(
    slope: Slope, rate: Array, decay: Array, weights: Weights, data: Data
) -> tuple[Weights, Float[Array, "k"]]:
    """The k rows one after another, in a loop small enough for XLA to make one kernel of it."""
    x, y = data
    k, d = x.shape
    size = _part_of_a_row(d, x.dtype)
    parts = -(-d // size)
    # Columns of zeros make the parts equal: a smaller last one would be too much for one kernel.
    padding = parts * size - d
    x = jnp.pad(x, ((0, 0), (0, padding))) if padding else x

    def over_parts(fn: Callable[[Array, Index], Array], carry: Array) -> Array:
        if parts == 1:
            return fn(carry, np.int32(0))
        return jax.lax.fori_loop(
            np.int32(0), np.int32(parts), lambda i, c: fn(c, i * np.int32(size)), carry
        )

    def update(weights: Weights, row: Array) -> tuple[Weights, Array]:
        w, b = weights

        def x_part(start: Index) -> Array:
            return _slice(x, (row, start), (1, size))[0]

        def add_dot(z: Array, start: Index) -> Array:
            return z + _dot_in_lanes(x_part(start), _slice(w, (start,), (size,)))

        z = over_parts(add_dot, b)
        g = rate * slope(z, _slice(y, (row,), (1,))[0])

        def move(w: Array, start: Index) -> Array:
            part = decay * _slice(w, (start,), (size,)) - g * x_part(start)
            return jax.lax.dynamic_update_slice(w, part, (start,), allow_negative_indices=False)

        return (over_parts(move, w), decay * b - g), z

    w, b = weights
    rows = jnp.arange(k, dtype=jnp.int32)
    (w, b), logits = jax.lax.scan(update, (jnp.pad(w, (0, padding)), b), rows)
    return (w[:d], b), logits


def _part_of_a_row(d: int, dtype: Any) -> int:
    """How many features to take at a time: equal parts if there are any, as padding is a copy."""
    itemsize = max(4, dtype.itemsize)
    if d <= KERNEL_FEATURES[itemsize]:
        return d
    size = even_size(d, KERNEL_PART[itemsize])
    return size if d % size == 0 else -(-d // -(-d // size))


def _dot_in_lanes(a: Float[Array, "d"], b: Float[Array, "d"]) -> Float[Array, ""]:
    """A dot product as a few sums side by side, none of which waits for the others."""
    products = jnp.pad(wide(a) * wide(b), (0, -a.size % DOT_LANES))
    sums = list(jnp.sum(products.reshape(-1, DOT_LANES), axis=0))
    while len(sums) > 1:
        sums = [left + right for left, right in zip(sums[::2], sums[1::2], strict=True)]
    return sums[0].astype(a.dtype)


def _slice(array: Array, start: tuple[Index, ...], sizes: tuple[int, ...]) -> Array:
    return jax.lax.dynamic_slice(array, start, sizes, allow_negative_indices=False)
