"""Which of torch's numbers stand where: every map between layouts, in both directions, from that.

The numbers of a layer are counted through, tensor after tensor. A layout is a function of those
positions alone, arrays of integers in the shapes of torch's tensors: it transposes, splits and
joins them into leaves. The way there looks the numbers up, the way back is the same table read the
other way, and so is the gradient's: none of the three can disagree with the others.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

Positions = Int[np.ndarray, "..."]
Path = tuple[str, ...]

NONE = -1  # the position of a number that torch does not have


class Leaf(NamedTuple):
    """A leaf of the other framework: torch[at] + torch[added] + plus, number by number."""

    at: Positions
    added: Positions | None = None  # of a second number, NONE where there is none
    plus: Any = 0.0  # one number, or an array of the leaf's shape


def constant(number: int) -> Leaf:
    """A leaf that torch does not have."""
    return Leaf(np.array(NONE), plus=number)


def positions(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Positions]:
    """The positions of a layer's tensors, counted through."""
    counted, first = {}, 0
    for role, shape in shapes.items():
        size = int(np.prod(shape, dtype=np.int64))
        counted[role] = np.arange(first, first + size).reshape(shape)
        first += size
    return counted


def roles_of(leaf: Leaf, counted: Mapping[str, Positions]) -> list[str]:
    """The tensors that a leaf takes numbers from."""
    taken = [leaf.at] if leaf.added is None else [leaf.at, leaf.added]
    return [
        role
        for role, at in counted.items()
        if at.size and any(((p >= at.min()) & (p <= at.max())).any() for p in taken)
    ]


def gathered(leaf: Leaf, tensors: Mapping[str, Any], counted: Mapping[str, Positions]) -> Any:
    """The leaf's values, of torch's; NumPy's where those are, and JAX's where JAX traces them."""
    roles = roles_of(leaf, counted)
    if not roles:
        return np.broadcast_to(np.asarray(leaf.plus), leaf.at.shape)
    flat, first = _joined(roles, tensors, counted)
    value = flat[first[leaf.at]]
    if leaf.added is not None:
        value = value + flat[first[leaf.added]] * (leaf.added != NONE).astype(flat.dtype)
    return value if np.all(leaf.plus == 0) else value + np.asarray(leaf.plus, flat.dtype)


def _joined(
    roles: list[str], tensors: Mapping[str, Any], counted: Mapping[str, Positions]
) -> tuple[Any, Positions]:
    """Those tensors as one row, and where in it each position is."""
    rows = [tensors[role].reshape(-1) for role in roles]
    where = np.zeros(max(at.max() for at in counted.values() if at.size) + 2, np.int64)
    for role, start in zip(roles, np.cumsum([0, *map(len, rows[:-1])]), strict=True):
        at = counted[role].reshape(-1)
        where[at] = start + np.arange(len(at))
    return (rows[0] if len(rows) == 1 else _numpy_or_jax(rows).concatenate(rows)), where


def _numpy_or_jax(arrays: Iterable[Any]) -> Any:
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def values_back(
    leaf: Leaf, value: Any, before: Mapping[str, Any], counted: Mapping[str, Positions]
) -> list[tuple[Positions, Any]]:
    """Torch's numbers, by position, that make this value of the leaf.

    Where the leaf is torch's number, it is that number. Where it is a sum, what the leaf has moved
    by since `before` is shared among its terms equally: they have the same gradient, so that any
    optimizer which began alike moves them alike.
    """
    if leaf.added is None and np.all(leaf.plus == 0):
        return [(leaf.at, value)]
    if not (roles := roles_of(leaf, counted)):
        return []
    flat, where = _joined(roles, before, counted)
    added = np.full_like(leaf.at, NONE) if leaf.added is None else leaf.added
    terms = 1 + (added != NONE)
    move = (value - gathered(leaf, before, counted)) / terms.astype(flat.dtype)
    sole = (terms == 1) & (np.broadcast_to(leaf.plus, leaf.at.shape) == 0)
    first = _numpy_or_jax([move]).where(sole, value, flat[where[leaf.at]] + move)
    return [(leaf.at, first), (added, flat[where[added]] + move)]


def gradient_back(leaf: Leaf, value: Any) -> list[tuple[Positions, Any]]:
    """The gradient of torch's numbers, by position: each term of a sum has the sum's."""
    return [(leaf.at, value)] + ([] if leaf.added is None else [(leaf.added, value)])


def collected(
    found: list[tuple[Positions, Any]], counted: Mapping[str, Positions]
) -> dict[str, Any]:
    """Torch's tensors from numbers by position; those of which a number is missing are left out."""
    tensors = {}
    for role, at in counted.items():
        if not at.size:
            continue
        first, last = at.min(), at.max()
        own = [(p, v) for p, v in found if ((p >= first) & (p <= last)).any()]
        where = np.full(at.size, NONE)
        flat, start = [], 0
        for p, v in own:
            p = p.reshape(-1)
            inside = np.flatnonzero((p >= first) & (p <= last))
            where[p[inside] - first] = start + inside
            flat.append(v.reshape(-1))
            start += p.size
        if (where != NONE).all():
            row = flat[0] if len(flat) == 1 else _numpy_or_jax(flat).concatenate(flat)
            tensors[role] = row[where].reshape(at.shape)
    return tensors
