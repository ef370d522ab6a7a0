"""A keyed permutation with random access: no sort, no memory, any position on its own.

For n > 256 it is a Feistel network over Z_a × Z_b with a·b ≥ n, walked along its cycle until it
lands below n; for fewer rows it is the rank of the position's random word.

Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

# Below this many rows every position is ranked among n random words: O(n) a position, but every
# one of the n! orders is equally likely. Feistel halves this small would not mix well enough.
_RANKED = 256

# Four rounds are the least that a Feistel network needs to look random; the halves of small n are
# short, so we take twice that.
_ROUNDS = 8


def permuted(key: Array, n: int, at: Array) -> Array:
    """The row at each position of a permutation of n rows, int32."""
    order = _ranked if n <= _RANKED else _feistel
    return order(key, n, at).astype(jnp.int32)


def all_permuted(key: Array, n: int) -> Array:
    """The row at every position, in order: `permuted(key, n, arange(n))`."""
    every = jnp.arange(n, dtype=jnp.int32)

    def at_once(key: Array) -> Array:
        return permuted(key, n, every)

    def evenly(key: Array) -> Array:
        return jnp.concatenate([permuted(key, n, every[:-1]), permuted(key, n, every[-1:])])

    # XLA's CPU compiler vectorises loops of even length only; a TPU's takes 40 times as long to
    # compile two parts.
    if n % 2 == 0 or n == 1:
        return at_once(key)
    return jax.lax.platform_dependent(key, cpu=evenly, default=at_once)


def _ranked(key: Array, n: int, at: Array) -> Array:
    """The rank of each position's word among n random words."""
    return _rank(jax.random.bits(key, (n,), jnp.uint32), at)


def _rank(words: Array, at: Array) -> Array:
    """How many words are below the word at each position; ties go by position."""
    index = jnp.arange(len(words), dtype=at.dtype)

    def rank(position: Array) -> Array:
        own = words[position]
        return jnp.sum((words < own) | ((words == own) & (index < position)))

    return jax.vmap(rank)(at.reshape(-1)).reshape(at.shape)


def _feistel(key: Array, n: int, at: Array) -> Array:
    """The position enciphered, in Z_a × Z_b, and walked on if it lands in the few rows past n."""
    a, b = _factors(n)
    cipher = Cipher(
        jax.random.bits(key, (_ROUNDS,), jnp.uint32), jnp.uint32(n), jnp.uint32(a), jnp.uint32(b)
    )
    return _walk(cipher, at.astype(jnp.uint32), overflow=a * b - n)


class Cipher(NamedTuple):
    """The keys of the rounds, the number of rows n and the factors a, b with a·b ≥ n: uint32."""

    round_keys: UInt32[Any, "rounds"]
    n: UInt32[Any, ""]
    a: UInt32[Any, ""]
    b: UInt32[Any, ""]


def _walk(cipher: Cipher, position: Array, overflow: int) -> Array:
    """The cycle walk, from every position at once.

    Only the overflow rows [n, a·b) lead on, so we walk from those alone and look the others' up:
    walking all positions until the last has landed would encipher every one of them again.
    """
    row = encipher(cipher, position)
    if overflow == 0:
        return row
    landing = jax.lax.fori_loop(
        1,
        overflow,  # a walk of more steps would be going in a circle that no position leads into
        lambda _, rows: jnp.where(rows < cipher.n, rows, encipher(cipher, rows)),
        encipher(cipher, cipher.n + jnp.arange(overflow, dtype=jnp.uint32)),
    )
    return jnp.where(row < cipher.n, row, landing[jnp.maximum(row, cipher.n) - cipher.n])


def encipher(cipher: Cipher, row: Any, minimum: Callable[[Any, Any], Any] = jnp.minimum) -> Any:
    """A Feistel network on (row // b, row mod b): every round adds a number of the other half.

    Rows are JAX's, or NumPy's with the minimum of NumPy.
    """
    left, right = row // cipher.b, row % cipher.b
    for i in range(0, _ROUNDS, 2):
        number = _below(cipher.a, _word(cipher.round_keys[i], right))
        left = _add(left, number, cipher.a, minimum)
        number = _below(cipher.b, _word(cipher.round_keys[i + 1], left))
        right = _add(right, number, cipher.b, minimum)
    return left * cipher.b + right


def _factors(n: int) -> tuple[int, int]:
    """Two near-equal factors below 2¹⁶ whose product exceeds n by the least: few rows must walk."""
    root = math.isqrt(n - 1) + 1
    largest = min(root + root // 2, 2**16 - 1)
    return min(((a, -(-n // a)) for a in range(root, largest + 1)), key=lambda ab: ab[0] * ab[1])


def _word(key: Any, half: Any) -> Any:
    """32 bits that look random, the upper ones most: a half and its round's key, multiplied twice.

    The constants are those of MurmurHash3's and xxHash's finalizers.
    """
    word = (half + key) * np.uint32(0x9E3779B1)
    return (word ^ (word >> 15)) * np.uint32(0x85EBCA6B)


def _below(modulus: Any, word: Any) -> Any:
    """⌊word · modulus / 2³²⌋ for a modulus below 2¹⁶, of 32-bit products: no division, no bias."""
    low = ((word & 0xFFFF) * modulus) >> 16
    return ((word >> 16) * modulus + low) >> 16


def _add(half: Any, number: Any, modulus: Any, minimum: Callable[[Any, Any], Any]) -> Any:
    """The sum of two numbers below a modulus, mod it: a negative difference is a large one."""
    total = half + number
    return minimum(total, total - modulus)
