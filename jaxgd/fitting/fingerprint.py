"""What data or a traced function is, in a few letters: equal ones are the same in any process."""

import hashlib
import re

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from jaxgd.storage.bits import plain_bits
from jaxgd.streaming.host_order import HostOrder

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
