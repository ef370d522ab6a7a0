"""`shuffle` in NumPy: whoever reads rows for the device must not wait for the device."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Int, UInt32

from jaxgd import permutation
from jaxgd.inputs import check_count
from jaxgd.keys import Key

# Positions of an order [m] to row numbers [m].
HostOrder = Callable[[np.ndarray], np.ndarray]


def host_shuffle(key: Key, n: int) -> HostOrder:
    """`jaxgd.shuffle(key, n, positions)` as a function of positions, on the host.

    The key's few random words are drawn at once, the rows when they are asked for.

    Departs from jaxgd.shuffle: nothing but where it runs.
    """
    n = check_count("n", n)
    if n <= permutation._RANKED:
        order = _ranks(_words(key, n)).astype(np.int32)
        return lambda positions: order[positions]
    words = _words(key, permutation._ROUNDS)
    return lambda positions: _walk(words, n, np.asarray(positions, np.uint32)).astype(np.int32)


def as_they_lie(positions: np.ndarray) -> np.ndarray:
    """The order in which a row's number is its position."""
    return positions


# One small program, where JAX would compile one for each step of drawing.
_bits = jax.jit(lambda key, shape: jax.random.bits(key, shape, np.uint32), static_argnums=1)


def _words(key: Key, count: int) -> UInt32[np.ndarray, "count"]:
    return np.asarray(_bits(key, (count,)))


def _ranks(words: UInt32[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """How many words are below each; ties go by position."""
    ranks = np.empty(len(words), np.int64)
    ranks[np.argsort(words, kind="stable")] = np.arange(len(words))
    return ranks


def _walk(words: np.ndarray, n: int, position: UInt32[np.ndarray, "m"]) -> np.ndarray:
    """The position enciphered, again and again where it lands past n."""
    cipher = permutation.Cipher(words, *map(np.uint32, (n, *permutation._factors(n))))
    row = permutation.encipher(cipher, position, np.minimum)
    while (past := np.flatnonzero(row >= cipher.n)).size:
        row[past] = permutation.encipher(cipher, row[past], np.minimum)
    return row
