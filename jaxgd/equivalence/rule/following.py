"""Whether the steps that a side took follow from its own gradients by the rule of its optimizer."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.comparison.deviations import Series, deviation, ratio
from jaxgd.equivalence.comparison.tolerance import FixedTolerance
from jaxgd.equivalence.recordings.update import Moves
from jaxgd.equivalence.rule.recipe import Matrix, Recipe, steps

Vector = Float[np.ndarray, " entries"]

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
    predicted = steps(recipe, recorded.gradients, recorded.params)[since:]
    taken, start = recorded.steps[since:], recorded.params[since]
    return {
        path: _fit(start[place], predicted[:, place], taken[:, place], dtype)
        for path, (place, dtype) in recorded.leaves.items()
    }


def _fit(start: Vector, predicted: Matrix, taken: Matrix, dtype: np.dtype) -> Fit:
    paths = (
        np.concatenate([start[None], start + np.cumsum(walked, axis=0)])
        for walked in (predicted, taken)
    )
    strayed = deviation(*paths)
    allowed = _ROUNDING.get(dtype.name, FixedTolerance()).allowed("", dtype, strayed)
    misfit = np.maximum(
        ratio(strayed.error, allowed.error), ratio(strayed.step_error, allowed.step_error)
    )
    with np.errstate(divide="ignore"):
        resolution = allowed.error[1:] / strayed.distance[1:]
    return Fit(misfit[1:], resolution, len(start))
