"""Which rows are held out: at random, by class where one is rare, by groups, or the last ones."""

import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from jaxgd.host_order import host_shuffle

Rows = tuple[Int[np.ndarray, "train"], Int[np.ndarray, "held_out"]]

# With fewer rows of a class to hold out, chance alone may leave a third of them or double.
_RARE = 10


def split(
    key: PRNGKeyArray | UInt32[Array, "2"],
    n: int,
    held_out: float | int,
    *,
    classes: Int[np.ndarray, "n"] | None = None,
    groups: Int[np.ndarray, "n"] | None = None,
    times: np.ndarray | None = None,
) -> Rows:
    """The rows to train on and the rows held out, each in ascending order.

    round(held_out · n) rows are held out, drawn with the key: of each of the `classes` its part
    where one is so rare that chance could spoil it (fewer than ten of its rows in a part); or
    whole `groups`, each that leaves it at no more rows, else the smallest; or the latest `times`,
    which are not drawn: as many rows as nearly as whole times allow.

    Raises ValueError unless 0 ≤ held_out < 1 leaves rows in every part that is asked for.
    """
    held = _held(n, held_out)
    if held and times is not None:
        return _latest(times, held)
    if held and groups is not None:
        return _whole_groups(groups, _order(key, int(groups.max()) + 1), held)
    order = _order(key, n)
    if held and classes is not None and _one_is_rare(classes, held_out):
        return _of_each_class(classes, order, held)
    return np.sort(order[held:]), np.sort(order[:held])


def _held(n: int, held_out: float | int) -> int:
    """How many rows are held out."""
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out must be a fraction in [0, 1); got held_out={held_out:g}.")
    held = round(held_out * n)
    if held == n or (held == 0 and held_out > 0):
        raise ValueError(
            f"both parts must hold at least one row; held_out={held_out:g} of n={n} leaves "
            f"{n - held} to train on and {held} held out. Use held_out=0 to hold out none."
        )
    return held


def _order(key: PRNGKeyArray | UInt32[Array, "2"], n: int) -> np.ndarray:
    """A shuffled order of n rows, drawn on the host: there is nothing to compile for each n."""
    return host_shuffle(key, n)(np.arange(n))


def _one_is_rare(classes: np.ndarray, held_out: float) -> bool:
    counts = np.unique(classes, return_counts=True)[1]
    return bool(counts.min() * min(held_out, 1 - held_out) < _RARE)


def _of_each_class(classes: np.ndarray, order: np.ndarray, held: int) -> Rows:
    """Of each class its part of the held-out rows, the first in the order; rounded to the sum."""
    names, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    ideal = counts * (held / len(order))
    share = np.floor(ideal).astype(int)
    largest_rests = np.argsort(share - ideal, kind="stable")
    share[largest_rests[: held - share.sum()]] += 1
    parts = [order[index[order] == i][: share[i]] for i in range(len(names))]
    out = np.concatenate(parts)
    return np.setdiff1d(np.arange(len(order)), out), np.sort(out)


def _whole_groups(groups: np.ndarray, order: np.ndarray, held: int) -> Rows:
    """Whole groups in a shuffled order, each that fits into what is left to hold out."""
    if len(order) == 1:
        raise ValueError(
            "both parts must hold at least one group; got one. Leave out the groups, or hold out "
            "nothing."
        )
    sizes, chosen = np.bincount(groups), []
    for group in order:
        if sizes[group] <= held:
            chosen.append(group)
            held -= sizes[group]
    return _parts(np.isin(groups, chosen or sizes.argmin()))


def _latest(times: np.ndarray, held: int) -> Rows:
    """The latest times: rows of one time are on one side, or a part would know of the other."""
    _, ranks, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(counts) == 1:
        raise ValueError(
            "both parts must hold at least one time; all rows are of one. Leave out the times, or "
            "hold out nothing."
        )
    rows = np.cumsum(counts[:0:-1])  # of the latest time, the two latest, …
    return _parts(ranks >= len(counts) - 1 - np.abs(rows - held).argmin())


def _parts(out: np.ndarray) -> Rows:
    return np.flatnonzero(~out), np.flatnonzero(out)
