"""What data or a traced function is, in a few letters: equal ones are the same in any process."""

import hashlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, PyTree

from jaxgd.host_order import HostOrder
from jaxgd.inputs import Padded, count_spread
from jaxgd.storage.bits import plain_bits

_PROBED = 300


def of_program(traced: ClosedJaxpr) -> str:
    """A hash of a traced function: its operations, and all that it closes over."""
    text = re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr))  # where a function lies is not what it is
    digest = hashlib.sha256(text.encode())
    for constant in traced.consts:
        digest.update(plain_bits(constant).tobytes())
    return digest.hexdigest()[:16]


def of_order(order: HostOrder, n: int) -> str:
    """A hash of the rows at a few hundred positions of an order of n rows, evenly spread."""
    positions = np.unique(np.linspace(0, n - 1, _PROBED).astype(np.int32))
    return of_arrays(np.asarray(order(positions), np.int32))


def of_arrays(tree: PyTree) -> str:
    """A hash of all bits of a tree of arrays, with their dtypes and shapes."""
    digest = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(plain_bits(leaf)).data)
    return digest.hexdigest()[:16]


def of_lying(data: PyTree) -> str:
    """A hash of data that lie on several devices, worked out there: the same however many.

    Sums modulo 2**32 of all words, each mixed with its place: they depend on no order. Rows that
    only fill up are left out.
    """
    n = count_spread(data)
    leaves = jax.tree.leaves(data.rows if isinstance(data, Padded) else data)
    digest = hashlib.sha256(str(jax.tree.structure([*leaves])).encode())
    for leaf in leaves:
        digest.update(f"{leaf.dtype}{(n, *leaf.shape[1:])}".encode())
        digest.update(np.asarray(_mixed(leaf, n)).tobytes())
    return digest.hexdigest()[:16]


@partial(jax.jit, static_argnames="n")
def _mixed(leaf: Array, n: int) -> Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    width = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
    words = leaf.astype(width) if leaf.dtype == bool else jax.lax.bitcast_convert_type(leaf, width)
    if leaf.dtype.itemsize == 8:
        words = jax.lax.bitcast_convert_type(words, jnp.uint32)
    words = words.reshape(len(leaf), -1).astype(jnp.uint32)
    row, column = (jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) for axis in (0, 1))
    mixed = words
    sums: list[Array] = []
    for step in (row, column):
        mixed = _stirred(mixed ^ _stirred(step + jnp.uint32(len(sums) + 1)))
        sums.append(jnp.sum(jnp.where(row < n, mixed, jnp.uint32(0)), dtype=jnp.uint32))
    return jnp.stack(sums)


def _stirred(words: Array) -> Array:
    """A bijection of 32 bits in which each depends on all others: MurmurHash3's last step."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = (words ^ (words >> shift)) * jnp.uint32(factor)
    return words ^ (words >> 16)
