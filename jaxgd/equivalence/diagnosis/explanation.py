"""Which known difference turns one side's gradients into the steps that it took."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from jaxgd.equivalence.diagnosis.differences import variants
from jaxgd.equivalence.recordings.optimizer_view import Moves
from jaxgd.equivalence.rule.following import misfits
from jaxgd.equivalence.rule.recipe import Recipe, steps

# An explanation stands when every other one is so many times as far off.
_CLEARLY = 10.0

# A factor fits any one step; it takes a few more to say that it is the same for all.
_EVIDENCE = 8

# A hypothesis that is far off on so many entries of each leaf is not tried on the others.
_SAMPLE = 256

AS_IT_IS = "the recipe as it is"


@dataclass(frozen=True)
class Explanation:
    """A hypothesis about a side's optimizer, and what it leaves to be explained.

    misfit: the largest difference between the parameters that it predicts from the side's own
        gradients and the recorded ones, as a multiple of what rounding may do.
    """

    name: str
    misfit: float


@np.errstate(invalid="ignore", over="ignore")
def explain(recipe: Recipe, recorded: Moves) -> tuple[str | None, tuple[Explanation, ...]]:
    """The one hypothesis that stands, if there is one, and all of them, the closest first.

    They are judged on all updates, or else on those from the first that the recipe fails in: a
    difference may come into play late.
    """
    everywhere = _ranked(recipe, recorded, since=0)
    if everywhere[0].misfit <= 1:
        return _standing(everywhere, recorded), everywhere
    failing = np.flatnonzero(misfits(recipe, recorded) > 1)
    if not failing.size:
        return _standing(everywhere, recorded), everywhere
    since = int(failing[0])
    later = _ranked(recipe, recorded, since)
    name = _standing(later, recorded, since)
    return name, later if name else everywhere


def _standing(ranked: tuple[Explanation, ...], recorded: Moves, since: int = 0) -> str | None:
    """The hypothesis that fits the steps, if every other is ten times as far off and does not."""
    first, second = ranked[:2]
    stands = first.misfit <= 1 < second.misfit and second.misfit >= _CLEARLY * first.misfit
    moved = sum(np.count_nonzero(part.steps[since:]) for part in recorded.blocks())
    enough = moved >= _EVIDENCE
    return first.name if stands and enough and first.name != AS_IT_IS else None


def _ranked(recipe: Recipe, recorded: Moves, since: int) -> tuple[Explanation, ...]:
    """The hypotheses, judged on the updates from `since` on."""
    sample = recorded.sampled(_SAMPLE)
    hypotheses = [(AS_IT_IS, recipe), *variants(recipe), *_rescaled(recipe, recorded, since)]
    at_first = [float(misfits(hypothesis, sample, since).max()) for _, hypothesis in hypotheses]
    hopeless = max(_CLEARLY, _CLEARLY**2 * min(at_first))
    tried = []
    for (name, hypothesis), misfit in zip(hypotheses, at_first, strict=True):
        if misfit < hopeless or name == AS_IT_IS:
            misfit = float(misfits(hypothesis, recorded, since).max())
        tried.append(Explanation(name, misfit))
    return tuple(sorted(tried, key=lambda explanation: explanation.misfit))


def _rescaled(recipe: Recipe, recorded: Moves, since: int) -> Iterator[tuple[str, Recipe]]:
    """The hypotheses of steps that are off by one factor, the one that fits best.

    Where every gradient is clipped, the norm it is clipped to cannot be told from the learning
    rate: both fit, and neither is named.
    """
    square, product = 0.0, 0.0
    for part in recorded.blocks():
        taken = steps(recipe, part.gradients, part.params, recorded.norms)
        predicted, moved = (s[since:].cumsum(axis=0) for s in (taken, part.steps))
        square += float((predicted * predicted).sum())
        product += float((predicted * moved).sum())
    factor = product / square if square else 1.0
    rates = tuple((factor * recipe.rates(len(recorded.norms))).tolist())
    yield f"the learning rate is {factor:.6g} times as large", replace(recipe, lr=rates)
    if recipe.max_norm is not None and factor > 0:
        norm = factor * recipe.max_norm
        yield f"the gradient is clipped to a norm of {norm:.6g}", replace(recipe, max_norm=norm)
