"""What a run may be given. Each check names the rule, what was given and the remedy."""

import operator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def count_examples(data: PyTree) -> int:
    """The number n of examples: the length of the leading axis that all leaves share.

    Raises ValueError for no leaves, a scalar leaf, leaves of different length, or n = 0.
    """
    leaves = jax.tree_util.tree_leaves_with_path(data)
    if not leaves:
        raise ValueError("data must hold at least one array; got none. Pass arrays, e.g. (x, y).")
    shapes = {jax.tree_util.keystr(path) or "data": np.shape(leaf) for path, leaf in leaves}
    if any(shape == () for shape in shapes.values()):
        raise ValueError(
            f"every leaf of data must have a leading axis of examples; got shapes {shapes}. "
            "Put constants into the loss instead."
        )
    lengths = {shape[0] for shape in shapes.values()}
    if len(lengths) > 1:
        raise ValueError(
            f"all leaves of data must have the same number of examples; got shapes {shapes}. "
            "Check that no rows were lost on one side."
        )
    n = lengths.pop()
    if n == 0:
        raise ValueError(f"data must hold at least one example; got shapes {shapes}.")
    return n


def check_batch_size(batch_size: Any, n: int | None = None) -> int:
    """The batch size as an int in [1, n]; ValueError or TypeError if it is none."""
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size must be an integer in [1, n]; got batch_size={batch_size!r}. "
            "Use batch_size=None for full gradient descent."
        ) from None
    if isinstance(batch_size, bool) or size < 1 or (n is not None and size > n):
        given = f"batch_size={batch_size!r}" + ("" if n is None else f" with n={n}")
        raise ValueError(
            f"batch_size must be in [1, n]; got {given}. "
            "Use batch_size=None for full gradient descent."
        )
    return size


def check_count(name: str, count: Any) -> int:
    """A count such as epochs as an int of at least 1; ValueError or TypeError if it is none."""
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"{name} must be an integer of at least 1; got {name}={count!r}.") from None
    if isinstance(count, bool) or number < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {name}={count!r}.")
    return number
