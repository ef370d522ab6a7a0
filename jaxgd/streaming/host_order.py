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


def _words(key: Key, count: int) -> UInt32[np.ndarray, "count"]:
    return np.asarray(jax.random.bits(key, (count,), np.uint32))


def _ranks(words: UInt32[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """How many words are below each; ties go by position."""
    ranks = np.empty(len(words), np.int64)
    ranks[np.argsort(words, kind="stable")] = np.arange(len(words))
    return ranks


def _walk(words: np.ndarray, n: int, position: UInt32[np.ndarray, "m"]) -> np.ndarray:
    """The position enciphered, again and again where it lands past n."""
    a, b = map(np.uint32, permutation._factors(n))
    row = _encipher(words, a, b, position)
    while (past := np.flatnonzero(row >= n)).size:
        row[past] = _encipher(words, a, b, row[past])
    return row


def _encipher(words: np.ndarray, a: np.uint32, b: np.uint32, row: np.ndarray) -> np.ndarray:
    left: np.ndarray = row // b
    right: np.ndarray = row % b
    for i in range(0, len(words), 2):
        left = _add(left, _below(a, _word(words[i], right)), a)
        right = _add(right, _below(b, _word(words[i + 1], left)), b)
    return left * b + right


def _word(key: np.uint32, half: np.ndarray) -> np.ndarray:
    word: np.ndarray = (half + key) * np.uint32(0x9E3779B1)
    return (word ^ (word >> 15)) * np.uint32(0x85EBCA6B)


def _below(modulus: np.uint32, word: np.ndarray) -> np.ndarray:
    low: np.ndarray = ((word & np.uint32(0xFFFF)) * modulus) >> 16
    return ((word >> 16) * modulus + low) >> 16


def _add(half: np.ndarray, number: np.ndarray, modulus: np.uint32) -> np.ndarray:
    total: np.ndarray = half + number
    return np.minimum(total, total - modulus)
