"""Rows that lie somewhere else and are read when they are needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.host_order import HostOrder, host_shuffle
from jaxgd.inputs import check_below, check_count, count_examples
from jaxgd.keys import Key

# A sample is a few runs of neighbours: where rows lie in blocks it touches few of them.
_RUNS, _RUN = 8, 64

_ALIGNMENT = 64  # bytes, as XLA's CPU backend wants it


@dataclass(frozen=True)
class Source:
    """n rows: `read(rows)` is a pytree of arrays whose leading axis is that of the row numbers.

    It is called with int32 row numbers in [0, n), in any order, from one thread at a time, mostly
    not the main one. A row is the same whenever it is read. `order(key, n)` gives the rows at
    positions of an epoch with that key: by default the order of `jaxgd.shuffle`. What is read is
    copied, unless `fresh` says that it is new each time and nobody changes it.
    """

    read: Callable[[np.ndarray], PyTree]
    n: int
    order: Callable[[Key, int], HostOrder] = host_shuffle
    fresh: bool = False
    # A fit that ctrl-C has ended may leave a slow read behind: the next waits for its end.
    _turn: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if check_count("n", self.n) >= 2**31:
            raise ValueError(f"n must be below 2**31; got n={self.n}. Rows have 32-bit numbers.")

    def rows(self, numbers: np.ndarray) -> PyTree:
        """The rows of these numbers in JAX's own precision, checked.

        Raises ValueError or TypeError for numbers that are no integers or not in [0, n), for
        another number of rows than was asked for, for what is no real number, and for NaN or inf,
        naming leaf and row.
        """
        numbers = _row_numbers(numbers, self.n)
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: _checked("data" + jax.tree_util.keystr(path), leaf, numbers),
            self._as_read(numbers),
        )

    def sample(self) -> PyTree:
        """A few of the rows as they were read, the same ones each time.

        They are runs of neighbours, evenly spread.
        """
        if self.n <= _RUNS * _RUN:
            return self._as_read(np.arange(self.n, dtype=np.int32))
        starts = np.linspace(0, self.n - _RUN, _RUNS).astype(np.int32)
        runs = starts[:, None] + np.arange(_RUN, dtype=np.int32)
        return self._as_read(np.unique(runs))

    def _as_read(self, numbers: np.ndarray) -> PyTree:
        with self._turn:
            tree = jax.tree.map(np.asarray if self.fresh else copied, self.read(numbers))
        if (found := count_examples(tree)) != len(numbers):
            raise ValueError(
                f"read must return as many rows as it is asked for; got {found} for {len(numbers)}."
            )
        return tree


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Room for an array that JAX takes over on a CPU as it lies, where others are copied."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def copied(leaf: Any) -> np.ndarray:
    """The leaf as an array that nobody else changes."""
    array = np.asarray(leaf)
    if array.dtype.hasobject or array.dtype.kind not in "biufV":
        return array  # refused later, in its own words
    room = aligned(array.shape, array.dtype)
    np.copyto(room, array)
    return room


def _row_numbers(numbers: Any, n: int) -> np.ndarray:
    """The numbers in 32 bits; ValueError unless each is a row's."""
    numbers = np.asarray(numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(
            "row numbers must be one-dimensional, of integers; got "
            f"{numbers.dtype}{list(numbers.shape)}. Use np.arange(start, stop)."
        )
    check_below("row numbers", numbers, n)
    return numbers.astype(np.int32, copy=False)


def _checked(name: str, leaf: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The leaf in the dtype that JAX has for it."""
    if leaf.dtype.kind not in "biuf" and not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise TypeError(f"data must be real numbers; got {name} of {leaf.dtype}. Encode it first.")
    with np.errstate(over="ignore", invalid="ignore"):
        array = leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
        is_float = leaf.dtype.kind not in "biu"
        if (is_float and _finite_at_once(array)) or (not is_float and array.dtype == leaf.dtype):
            return array
        bad = ~np.isfinite(array) if is_float else array != leaf
    if (rows := bad.reshape(len(bad), -1).any(axis=1)).any():
        rule = f"finite in {array.dtype}" if is_float else f"integers that fit into {array.dtype}"
        raise ValueError(
            f"data must be {rule}; got others in {rows.sum()} rows of {name} that were read, first "
            f"in row {numbers[np.argmax(rows)]}. Convert, remove or impute them."
        )
    return array


def _finite_at_once(array: np.ndarray) -> bool:
    """Whether one number tells that all are finite; where it does not they may still be.

    The sum of squares takes NumPy half of a sum's time or less.
    """
    if array.dtype in (np.float32, np.float64):
        flat = array.ravel(order="K")
        return bool(np.isfinite(np.einsum("i,i->", flat, flat)))
    return bool(np.isfinite(array.sum()))
