"""Sums over the devices of a mesh axis: one collective, of as many numbers as there are.

A tree travels as one vector for each dtype in it. In the fixed order the sum is that of a binary
tree over shards, whose lower levels a device adds up by itself: however many devices there are, a
power of two, the same pairs of numbers are added, and the same bits come out.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

Vectors = dict[str, Shaped[Array, "numbers"]]


def summed(tree: PyTree, axis: str) -> PyTree:
    """The tree added up over the devices, in whatever order is quickest: one all-reduce."""
    return _rebuilt(tree, {name: jax.lax.psum(v, axis) for name, v in _vectors(tree).items()})


def summed_in_order(
    share: Callable[[Array], PyTree], first: Array, shards: int, axis: str
) -> PyTree:
    """Σ share(i) over the shards of all devices in the fixed order, `shards` from first on here.

    The shares of a device are worked out in a loop, whose body is the same program whatever the
    number of its trips; XLA unrolls one of a single trip, and fuses what was in it otherwise.
    Adding is all that happens between the loop and the barrier: it fuses with no product.
    """
    like = jax.eval_shape(share, first)
    each = jax.lax.map(lambda i: _vectors(share(i)), first + jnp.arange(shards, dtype=jnp.int32))
    sums = {name: _over_devices(_pairwise(v), axis) for name, v in each.items()}
    return _rebuilt(like, jax.lax.optimization_barrier(sums))


def _pairwise(parts: Shaped[Array, "shards numbers"]) -> Shaped[Array, "numbers"]:
    """The sum of a power of two of vectors, neighbours first."""
    while len(parts) > 1:
        parts = parts[0::2] + parts[1::2]
    return parts[0]


def _over_devices(part: Shaped[Array, "numbers"], axis: str) -> Shaped[Array, "numbers"]:
    """The devices' vectors added up pairwise: each device adds one stretch of all of them."""
    devices = jax.lax.axis_size(axis)
    even = jnp.pad(part, (0, -part.size % devices)).reshape(devices, -1)
    stretch = _pairwise(jax.lax.all_to_all(even, axis, 0, 0))
    return jax.lax.all_gather(stretch, axis, tiled=True, to="invarying")[: part.size]


def _vectors(tree: PyTree) -> Vectors:
    leaves = jax.tree.leaves(tree)
    kinds = dict.fromkeys(leaf.dtype.name for leaf in leaves)
    return {
        kind: jnp.concatenate([leaf.reshape(-1) for leaf in leaves if leaf.dtype.name == kind])
        for kind in kinds
    }


def _rebuilt(like: PyTree, vectors: Vectors) -> PyTree:
    """A tree of these shapes whose leaves are the vectors' stretches."""
    starts = dict.fromkeys(vectors, 0)

    def leaf(a: Array | jax.ShapeDtypeStruct) -> Array:
        start = starts[a.dtype.name]
        starts[a.dtype.name] += a.size
        return vectors[a.dtype.name][start : start + a.size].reshape(a.shape)

    return jax.tree.map(leaf, like)
