"""A training run as named columns: arrays with a leading axis of updates."""

from typing import Any, NamedTuple

import numpy as np

from jaxgd.equivalence.recordings.column import Column
from jaxgd.equivalence.recordings.pytree import at, describe, listed, named_leaves, numeric


class Trajectory(NamedTuple):
    """The leaves of a run: one column [updates, ...] for each path."""

    leaves: dict[str, Column]
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
    return Trajectory({p: leaf for p, leaf in leaves.items() if leaf.entries}, weak, updates)


def _read_sequence(trees: Any, name: str) -> Trajectory:
    """Stacks one pytree per update."""
    entries = [dict(named_leaves(tree, f"{name}[{i}]")) for i, tree in enumerate(trees)]
    if not entries:
        return Trajectory({}, frozenset(), 0)
    first = {path: numeric(leaf, f"{name}[0]", path) for path, leaf in entries[0].items()}
    columns = {path: [array] for path, array in first.items()}
    for i, entry in enumerate(entries[1:], start=1):
        if entry.keys() != first.keys():
            raise ValueError(
                f"Every update holds the same leaves; {name}[{i}] and {name}[0] differ in "
                f"{listed(entry.keys() ^ first.keys())}. A list is one pytree per update; wrap "
                "leaves that have an axis of updates in a dict or a tuple."
            )
        for path, leaf in entry.items():
            array = numeric(leaf, f"{name}[{i}]", path)
            if (array.shape, array.dtype) != (first[path].shape, first[path].dtype):
                raise ValueError(
                    f"A leaf keeps its shape and dtype; {at(path)} is {describe(first[path])} in "
                    f"{name}[0] and {describe(array)} in {name}[{i}]. A list is one pytree per "
                    "update; wrap leaves that have an axis of updates in a dict or a tuple."
                )
            columns[path].append(array)
    _refuse_aliases(columns, name)
    weak = frozenset(p for p, leaf in entries[0].items() if type(leaf) in (bool, int, float))
    return Trajectory({path: Column(c) for path, c in columns.items()}, weak, len(entries))


def _read_stacked(tree: object, name: str) -> Trajectory:
    """Takes one pytree whose leaves have a leading axis of updates."""
    named = dict(named_leaves(tree, name))
    leaves = {path: numeric(leaf, name, path) for path, leaf in named.items()}
    for path, leaf in leaves.items():
        if leaf.ndim == 0:
            raise ValueError(
                f"Every leaf has a leading axis of updates; {at(path)} in {name} is a scalar. "
                "Stack it over the updates, or give a list with one pytree per update."
            )
    lengths = {path: len(leaf) for path, leaf in leaves.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = (
            min(lengths, key=lengths.__getitem__),
            max(lengths, key=lengths.__getitem__),
        )
        raise ValueError(
            f"Every leaf of {name} has the same number of updates; {at(shortest)} has "
            f"{lengths[shortest]} and {at(longest)} has {lengths[longest]}. Compare them apart, "
            "or leave out the start."
        )
    updates = next(iter(lengths.values()), 0)
    columns = {path: Column(leaf) for path, leaf in leaves.items()} if updates else {}
    return Trajectory(columns, frozenset(), updates)


def _refuse_aliases(columns: dict[str, list[Any]], name: str) -> None:
    """ValueError when every update shows the same memory, as a list of torch state_dicts does."""
    pairs = [column[:2] for column in columns.values() if len(column) > 1]
    live = [isinstance(a, np.ndarray) and a.flags.writeable and a.size for a, _ in pairs]
    if pairs and all(live) and all(np.may_share_memory(a, b) for a, b in pairs):
        raise ValueError(
            f"Every update needs its own copy; {name}[0] and {name}[1] share their memory, so "
            "both show the last update. Record tensor.detach().clone() or array.copy()."
        )
