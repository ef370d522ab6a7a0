"""Whether the steps that a side took follow from its own gradients by the rule of its optimizer."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxgd.equivalence.comparison.deviations import Series, deviation, merged
from jaxgd.equivalence.comparison.tolerance import FixedTolerance, times_allowed
from jaxgd.equivalence.recordings.optimizer_view import Block, LeafMoves, Matrix, Moves
from jaxgd.equivalence.rule.recipe import Recipe
from jaxgd.equivalence.rule.registered import looks_at_axes
from jaxgd.equivalence.rule.stepping import Norms, steps

# A side is replayed from its own numbers: nothing is carried over from the other's, and the fit can
# be closer than the comparison of two runs: a step rounds a parameter once or twice. In float32
# what keeps it from being closer still is optax.adam's bias correction, 1.3e-5 off at first.
_ROUNDING = {
    "float64": FixedTolerance(1e-12, roundings=4.0),
    "float32": FixedTolerance(2e-5, roundings=4.0),
}


# Two Muons round at other places of their bfloat16: the first step of a random [6, 4] is .053
# of itself apart, 12 of them .005; small singular values are blown up. RAdam's rho is
# a difference of 2000 and 1995 in torch: 1e-12 of a step.
_BFLOAT16_ITERATION = 0.1
_CANCELLED = 1e-11


class Fit(NamedTuple):
    """How well a recipe fits the steps of one leaf, at each update."""

    misfit: Series  # how far the parameters stray from the predicted ones, by what rounding may do
    resolution: Series  # the fraction of the way that could hide in that
    entries: int


@np.errstate(invalid="ignore", over="ignore")  # a side may diverge
def follows(recipe: Recipe, recorded: Moves) -> bool:
    """Whether the recipe gives the recorded steps, to rounding."""
    return bool((misfits(recipe, recorded) <= 1).all())


def misfits(recipe: Recipe, recorded: Moves, since: int = 0) -> Series:
    """How far the recorded parameters stray from the predicted ones, as a multiple of rounding."""
    return np.max([fit.misfit for fit in fits(recipe, recorded, since).values()], axis=0)


def fits(recipe: Recipe, recorded: Moves, since: int = 0) -> dict[str, Fit]:
    """The fit of each leaf, from update `since` on: both paths begin at its parameters."""
    norms = norms_of(recipe, recorded)
    return {
        path: _fit(recipe.at(path), leaf, norms[path], since)
        for path, leaf in recorded.leaves.items()
    }


def norms_of(recipe: Recipe, recorded: Moves) -> dict[str, Norms]:
    """What each leaf's gradients are clipped by.

    Clipped after the optimizer, they are clipped by the norm of its steps, which all leaves make.
    """
    norms = {
        path: Norms(recorded.norms, leaf.norms, recorded.part_norms)
        for path, leaf in recorded.leaves.items()
    }
    if recipe.clipped != "after the optimizer":
        return norms
    square: Any = 0.0
    for path, leaf in (recorded.whole or recorded).leaves.items():
        of_leaf = Norms(recorded.norms, leaf.norms, recorded.part_norms)
        for part in blocks_for(recipe.at(path), leaf):
            square = square + (steps(recipe.at(path), part[1], of_leaf) ** 2).sum(axis=1)
    return {path: of_leaf._replace(steps=np.sqrt(square)) for path, of_leaf in norms.items()}


def blocks_for(recipe: Recipe, leaf: LeafMoves) -> Iterator[tuple[int, Block]]:
    """The leaf in blocks, or whole where the rule looks at its shape."""
    return leaf.blocks(whole=recipe.registered and looks_at_axes(recipe.rule))


def _fit(recipe: Recipe, leaf: LeafMoves, norms: Norms, since: int) -> Fit:
    strayed = merged(
        [
            (first, deviation(*_paths(recipe, part, norms, since)))
            for first, part in blocks_for(recipe, leaf)
        ]
    )
    dtype = leaf.params.dtype
    allowed = _tolerance(recipe, dtype).allowed("", dtype, strayed)
    with np.errstate(divide="ignore", invalid="ignore"):  # a leaf that stays where it is
        resolution = allowed.error[1:] / strayed.distance[1:]
    return Fit(times_allowed(strayed, allowed)[1:], resolution, leaf.params.entries)


def _tolerance(recipe: Recipe, dtype: np.dtype) -> FixedTolerance:
    """The fit's; Muon iterates in bfloat16 unless told, and torch's own RAdam cancels."""
    if recipe.rule == "muon" and "ns_dtype" not in recipe.options:
        return FixedTolerance(_BFLOAT16_ITERATION, roundings=4.0)
    if recipe.rule == "radam" and dtype == np.float64:
        return FixedTolerance(_CANCELLED, roundings=4.0)
    return _ROUNDING.get(dtype.name, FixedTolerance())


def _paths(recipe: Recipe, part: Block, norms: Norms, since: int) -> Iterator[Matrix]:
    """The predicted parameters of some entries, and the recorded ones."""
    for taken in (steps(recipe, part, norms), part.steps):
        start = part.params[since : since + 1]
        yield np.cumsum(np.concatenate([start, taken[since:]]), axis=0)
