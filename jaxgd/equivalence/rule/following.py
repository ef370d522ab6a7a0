"""Whether the steps that a side took follow from its own gradients by the rule of its optimizer."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxgd.equivalence.comparison.deviations import Series, deviation, merged, ratio
from jaxgd.equivalence.comparison.tolerance import FixedTolerance
from jaxgd.equivalence.recordings.optimizer_view import Block, LeafMoves, Matrix, Moves
from jaxgd.equivalence.rule.recipe import Recipe, steps

# A side is replayed from its own numbers: nothing is carried over from the other's, and the fit can
# be closer than the comparison of two runs: a step rounds a parameter once or twice. In float32
# what keeps it from being closer still is optax.adam's bias correction, 1.3e-5 off at first.
_ROUNDING = {
    "float64": FixedTolerance(1e-12, roundings=4.0),
    "float32": FixedTolerance(2e-5, roundings=4.0),
}


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
    return {
        path: _fit(recipe, leaf, recorded.norms, since) for path, leaf in recorded.leaves.items()
    }


def _fit(recipe: Recipe, leaf: LeafMoves, norms: Series, since: int) -> Fit:
    strayed = merged(
        [(first, deviation(*_paths(recipe, part, norms, since))) for first, part in leaf.blocks()]
    )
    dtype = leaf.params.dtype
    allowed = _ROUNDING.get(dtype.name, FixedTolerance()).allowed("", dtype, strayed)
    misfit = np.maximum(
        ratio(strayed.error, allowed.error), ratio(strayed.step_error, allowed.step_error)
    )
    with np.errstate(divide="ignore"):
        resolution = allowed.error[1:] / strayed.distance[1:]
    return Fit(misfit[1:], resolution, leaf.params.entries)


def _paths(recipe: Recipe, part: Block, norms: Series, since: int) -> Iterator[Matrix]:
    """The predicted parameters of some entries, and the recorded ones."""
    for taken in (steps(recipe, part.gradients, part.params, norms), part.steps):
        start = part.params[since : since + 1]
        yield np.cumsum(np.concatenate([start, taken[since:]]), axis=0)
