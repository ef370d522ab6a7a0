"""A training run as named NumPy arrays with a leading axis of updates."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from ml_dtypes import bfloat16


class Trajectory(NamedTuple):
    """The leaves of a run: one array [updates, ...] for each path."""

    leaves: dict[str, Shaped[np.ndarray, "updates ..."]]
    weak: frozenset[str]  # paths of plain Python numbers, which take the other side's dtype
    updates: int


def read_trajectory(trajectory: object, name: str) -> Trajectory:
    """The trajectory's leaves by path; `name` is what error messages call it.

    A list is a sequence with one pytree per update. Anything else is one pytree whose leaves all
    have a leading axis of updates. Dicts, lists, tuples, NamedTuples and dataclasses nest freely.
    A path is the keys, fields and positions joined by dots ("layers.0.weight"), so that a dict, a
    NamedTuple and a flat torch state_dict of the same names match. None and arrays without entries
    hold nothing.
    """
    read = _read_sequence if isinstance(trajectory, list) else _read_stacked
    leaves, weak, updates = read(trajectory, name)
    if not leaves or updates == 0:
        raise ValueError(
            f"A trajectory holds at least one leaf and one update; got {len(leaves)} leaves "
            f"and {updates} updates in {name}. Record the run first."
        )
    return Trajectory({p: leaf for p, leaf in leaves.items() if leaf.size}, weak, updates)


def as_numpy(leaf: Any) -> Shaped[np.ndarray, "..."]:
    """The leaf's values on the host, in its own dtype."""
    if hasattr(leaf, "detach"):  # a torch tensor, told apart without importing torch
        leaf = leaf.detach().cpu()
        if str(leaf.dtype) == "torch.bfloat16":  # which torch cannot hand to NumPy
            return leaf.float().numpy().astype(bfloat16)
    return np.asarray(leaf)


def _read_sequence(trees: Any, name: str) -> Trajectory:
    """Stacks one pytree per update."""
    entries = [dict(_named_leaves(tree, f"{name}[{i}]")) for i, tree in enumerate(trees)]
    if not entries:
        return Trajectory({}, frozenset(), 0)
    first = {path: _numeric(leaf, f"{name}[0]", path) for path, leaf in entries[0].items()}
    columns = {path: [array] for path, array in first.items()}
    for i, entry in enumerate(entries[1:], start=1):
        if entry.keys() != first.keys():
            raise ValueError(
                f"Every update holds the same leaves; {name}[{i}] and {name}[0] differ in "
                f"{listed(entry.keys() ^ first.keys())}. A list is one pytree per update; wrap "
                "leaves that have an axis of updates in a dict or a tuple."
            )
        for path, leaf in entry.items():
            array = _numeric(leaf, f"{name}[{i}]", path)
            if (array.shape, array.dtype) != (first[path].shape, first[path].dtype):
                raise ValueError(
                    f"A leaf keeps its shape and dtype; {_at(path)} is {describe(first[path])} in "
                    f"{name}[0] and {describe(array)} in {name}[{i}]. A list is one pytree per "
                    "update; wrap leaves that have an axis of updates in a dict or a tuple."
                )
            columns[path].append(array)
    _refuse_aliases(columns, name)
    weak = frozenset(p for p, leaf in entries[0].items() if type(leaf) in (bool, int, float))
    stacked = {path: np.stack(column) for path, column in columns.items()}
    return Trajectory(stacked, weak, len(entries))


def _read_stacked(tree: object, name: str) -> Trajectory:
    """Takes one pytree whose leaves have a leading axis of updates."""
    named = dict(_named_leaves(tree, name))
    leaves = {path: _numeric(leaf, name, path) for path, leaf in named.items()}
    for path, leaf in leaves.items():
        if leaf.ndim == 0:
            raise ValueError(
                f"Every leaf has a leading axis of updates; {_at(path)} in {name} is a scalar. "
                "Stack it over the updates, or give a list with one pytree per update."
            )
    lengths = {path: len(leaf) for path, leaf in leaves.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.get)  # type: ignore[arg-type]
        raise ValueError(
            f"Every leaf of {name} has the same number of updates; {_at(shortest)} has "
            f"{lengths[shortest]} and {_at(longest)} has {lengths[longest]}. Compare them apart, "
            "or leave out the start."
        )
    return Trajectory(leaves, frozenset(), next(iter(lengths.values()), 0))


def _named_leaves(tree: Any, name: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a pytree with their dotted paths, each path once."""
    seen: set[str] = set()
    for keys, leaf in _walk(tree, ()):
        path = ".".join(keys)
        if path in seen:
            raise ValueError(
                f"Paths name one leaf each; {_at(path)} in {name} names two (a key that holds a "
                "dot spells the path of a nested one). Rename one."
            )
        seen.add(path)
        yield path, leaf


def _walk(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a pytree, depth first, with the keys that lead to them."""
    children: Any
    if tree is None:
        return
    if isinstance(tree, Mapping):
        children = tree.items()
    elif hasattr(tree, "_fields"):  # a NamedTuple
        children = zip(tree._fields, tree, strict=True)
    elif isinstance(tree, list | tuple):
        children = enumerate(tree)
    elif dataclasses.is_dataclass(tree):
        children = ((f.name, getattr(tree, f.name)) for f in dataclasses.fields(tree))
    else:
        yield keys, tree
        return
    for key, child in children:
        yield from _walk(child, (*keys, str(key)))


def _numeric(leaf: object, name: str, path: str) -> Shaped[np.ndarray, "..."]:
    """The leaf as an array of real numbers; TypeError when it is none."""
    try:
        array = as_numpy(leaf)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as failure:  # a random key, a sharded leaf elsewhere
        raise TypeError(
            f"{_at(path)} in {name} cannot become a NumPy array: {failure}"
        ) from failure
    if array.dtype.kind not in "biuf" and array.dtype != bfloat16:
        raise TypeError(
            f"Leaves are arrays of real numbers; {_at(path)} in {name} is "
            f"{type(leaf).__name__} of dtype {array.dtype}. Leave it out, or give the real and "
            "imaginary parts as two leaves."
        )
    return array


def _refuse_aliases(columns: dict[str, list[np.ndarray]], name: str) -> None:
    """ValueError when every update shows the same memory, as a list of torch state_dicts does."""
    pairs = [column[:2] for column in columns.values() if len(column) > 1]
    if pairs and all(a.flags.writeable and a.size and np.may_share_memory(a, b) for a, b in pairs):
        raise ValueError(
            f"Every update needs its own copy; {name}[0] and {name}[1] share their memory, so "
            "both show the last update. Record tensor.detach().clone() or array.copy()."
        )


def describe(array: np.ndarray) -> str:
    """Dtype and shape, as in float32[4, 3]."""
    return f"{array.dtype}{list(array.shape)}"


def _at(path: str) -> str:
    return f"'{path}'" if path else "the leaf"


def listed(paths: Any) -> str:
    """A few of the paths, in order."""
    shown = sorted(paths)
    return ", ".join(map(repr, shown[:3])) + (f" and {len(shown) - 3} more" if shown[3:] else "")
