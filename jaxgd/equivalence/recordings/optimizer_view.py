"""A recording as the optimizer sees it: gradients, parameters before, and the steps taken."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.recordings.column import Column
from jaxgd.equivalence.recordings.trajectory import read_trajectory
from jaxgd.equivalence.recordings.update import Recording, gradient_of

Matrix = Float[np.ndarray, "updates entries"]


class Block(NamedTuple):
    """Some entries of a leaf, at all updates, in float64."""

    gradients: Matrix
    params: Matrix  # before each update
    steps: Matrix  # what it added to them


class LeafMoves(NamedTuple):
    """One leaf's columns."""

    gradients: Column
    params: Column
    updated: Column

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """The leaf, a block of entries after the other, and where each begins."""
        for first, last in self.params.places():
            gradients, params, updated = (c.block(first, last).astype(np.float64) for c in self)
            with np.errstate(over="ignore", invalid="ignore"):  # a side may diverge
                yield first, Block(gradients, params, updated - params)

    def sampled(self, entries: int) -> "LeafMoves":
        """At most so many entries, spread evenly, in memory."""
        at = slice(None, None, max(-(-self.params.entries // entries), 1))
        return LeafMoves(*(Column(np.stack([c.row(t)[at] for t in range(len(c))])) for c in self))


class Moves(NamedTuple):
    """All leaves by path, and the norms of the whole gradients."""

    leaves: dict[str, LeafMoves]
    norms: Float[np.ndarray, " updates"]

    def blocks(self) -> Iterator[Block]:
        """All entries, block by block."""
        return (block for leaf in self.leaves.values() for _, block in leaf.blocks())

    def sampled(self, entries: int) -> "Moves":
        """At most so many entries of each leaf; the norms are still the whole's."""
        sampled = {path: leaf.sampled(entries) for path, leaf in self.leaves.items()}
        return Moves(sampled, self.norms)


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
    leaves = {p: LeafMoves(gradients[p], params[p], updated[p]) for p in sorted(params)}
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(_squares(leaf.gradients) for leaf in leaves.values())
    return Moves(leaves, np.sqrt(squares))


def _squares(column: Column) -> Float[np.ndarray, " updates"]:
    """The squared norm of each row; without BLAS, whose threads wait for each other."""
    rows = (column.row(t).astype(np.float64) for t in range(len(column)))
    return np.array([float((row * row).sum()) for row in rows])
