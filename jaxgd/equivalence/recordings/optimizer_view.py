"""A recording as the optimizer sees it: gradients, parameters before, and the steps taken."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.recordings.column import Column
from jaxgd.equivalence.recordings.trajectory import read_trajectory
from jaxgd.equivalence.recordings.update import Recording, gradient_of, stage

Matrix = Float[np.ndarray, "updates entries"]
Series = Float[np.ndarray, " updates"]


class Block(NamedTuple):
    """Some entries of a leaf, at all updates, in float64."""

    gradients: Matrix
    params: Matrix  # before each update
    steps: Matrix  # what it added to them
    parts: Float[np.ndarray, "micro_batches updates entries"]  # of the gradients, which they make
    shape: tuple[int, ...] | None = None  # the leaf's, where the block is all of it


class LeafMoves(NamedTuple):
    """One leaf's columns, and the norm of its gradient at each update."""

    gradients: Column
    params: Column
    updated: Column
    norms: Series
    parts: tuple[Column, ...] = ()

    def blocks(self, *, whole: bool = False) -> Iterator[tuple[int, Block]]:
        """The leaf, a block of entries after the other, and where each begins; or whole."""
        shape = self.params.shape[1:] if whole else None
        for first, last in [(0, self.params.entries)] if whole else self.params.places():
            columns = self.gradients, self.params, self.updated, *self.parts
            gradients, params, updated, *parts = (
                c.block(first, last).astype(np.float64) for c in columns
            )
            with np.errstate(over="ignore", invalid="ignore"):  # a side may diverge
                stacked = np.stack(parts) if parts else np.empty((0, *gradients.shape))
                yield first, Block(gradients, params, updated - params, stacked, shape)

    def sampled(self, entries: int) -> "LeafMoves":
        """At most so many entries, spread evenly, in memory."""
        at = slice(None, None, max(-(-self.params.entries // entries), 1))

        def some(column: Column) -> Column:
            return Column(np.stack([column.row(t)[at] for t in range(len(column))]))

        gradients, params, updated = map(some, (self.gradients, self.params, self.updated))
        return LeafMoves(gradients, params, updated, self.norms, tuple(map(some, self.parts)))


class Moves(NamedTuple):
    """All leaves by path, and the norms of the whole gradients, and of each micro-batch's."""

    leaves: dict[str, LeafMoves]
    norms: Series
    part_norms: Float[np.ndarray, "micro_batches updates"]
    whole: "Moves | None" = None  # what this is a part of

    def blocks(self) -> Iterator[Block]:
        """All entries, block by block."""
        return (block for leaf in self.leaves.values() for _, block in leaf.blocks())

    def sampled(self, entries: int) -> "Moves":
        """At most so many entries of each leaf; the norms are still the whole's."""
        sampled = {path: leaf.sampled(entries) for path, leaf in self.leaves.items()}
        return self._replace(leaves=sampled, whole=self.whole or self)

    def of(self, paths: Collection[str]) -> "Moves":
        """Some of the leaves; the norms are still the whole's."""
        leaves = {path: self.leaves[path] for path in paths}
        return self._replace(leaves=leaves, whole=self.whole or self)


def moves(recording: Recording) -> Moves:
    """The gradients, the parameters before, and what the updates added to them."""
    gradients, params, updated = (
        read_trajectory(trees, name).leaves
        for name, trees in (
            ("gradient", [gradient_of(update) for update in recording]),
            ("params", [update.params for update in recording]),
            ("updated", [update.updated for update in recording]),
        )
    )
    shapes = [
        {path: column.shape[1:] for path, column in run.items()}
        for run in (params, gradients, updated)
    ]
    if shapes[1:] != shapes[:1] * 2:
        raise ValueError(
            "params, gradient and updated hold the same leaves in the same shapes; "
            "got {}, {} and {}. Rename or transpose them.".format(*shapes)
        )
    parts = _parts(recording, params)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = {path: _squares(gradients[path]) for path in sorted(params)}
        of_parts = [sum(_squares(part[path]) for path in params) for part in parts]
    leaves = {
        path: LeafMoves(
            gradients[path],
            params[path],
            updated[path],
            np.sqrt(squares[path]),
            tuple(part[path] for part in parts),
        )
        for path in squares
    }
    part_norms = np.sqrt(np.array(of_parts).reshape(len(parts), len(recording)))
    return Moves(leaves, np.sqrt(sum(squares.values())), part_norms)


def _parts(recording: Recording, params: Mapping[str, Column]) -> list[dict[str, Column]]:
    """The gradients of each micro-batch by path, if they were recorded."""
    trees = stage(recording, "parts")
    if trees is None:
        return []
    columns = read_trajectory(trees, "parts").leaves
    parts: dict[str, dict[str, Column]] = {}
    for name, column in columns.items():
        part, _, path = name.partition(".")
        parts.setdefault(part, {})[path] = column
    for part, leaves in parts.items():
        if {p: c.shape for p, c in leaves.items()} != {p: c.shape for p, c in params.items()}:
            raise ValueError(
                "parts hold one gradient for each micro-batch, with the leaves of params; those of "
                f"part {part} are {sorted(leaves)[:3]}. Record a list of gradients."
            )
    return [parts[part] for part in sorted(parts, key=int)]


def _squares(column: Column) -> Float[np.ndarray, " updates"]:
    """The squared norm of each row; without BLAS, whose threads wait for each other."""
    rows = (column.row(t).astype(np.float64) for t in range(len(column)))
    return np.array([float((row * row).sum()) for row in rows])
