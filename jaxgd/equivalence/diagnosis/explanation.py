"""Which known difference turns one side's gradients into the steps that it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jaxgd.equivalence.diagnosis.differences import changed, other_rules, variants
from jaxgd.equivalence.diagnosis.solved_values import Number, restepped, solved
from jaxgd.equivalence.recordings.optimizer_view import Moves
from jaxgd.equivalence.recordings.pytree import listed
from jaxgd.equivalence.rule.following import blocks_for, misfits, norms_of
from jaxgd.equivalence.rule.recipe import Recipe
from jaxgd.equivalence.rule.registered import looks_at_axes
from jaxgd.equivalence.rule.stepping import steps

# An explanation stands when every other one is so many times as far off.
_CLEARLY = 10.0

# A factor fits any one step; it takes a few more to say that it is the same for all.
_EVIDENCE = 8

# A hypothesis that is far off on so many entries of each leaf is not tried on the others.
_SAMPLE = 256

AS_IT_IS = "the recipe as it is"

# Where steps are the same whatever the scale of the gradient, it cannot be told from what it is
# compared with; and a decay without the rate from another decay, while the rate stays.
_OF_SCALE = frozenset({"weight_decay", "eps", "max_norm", "max_value", "initial_accumulator"})


@dataclass(frozen=True)
class Explanation:
    """A hypothesis about a side's optimizer, and what it leaves to be explained.

    misfit: the largest difference between the parameters that it predicts from the side's own
        gradients and the recorded ones, as a multiple of what rounding may do.
    """

    name: str
    misfit: float
    changes: frozenset[str] = frozenset()  # the fields of the recipe


class Hypothesis(NamedTuple):
    """A recipe that may be the side's own."""

    name: str
    recipe: Recipe
    changes: frozenset[str]
    number: tuple[Number, float] | None = None  # what was solved for


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def explain(recipe: Recipe, recorded: Moves) -> tuple[str | None, tuple[Explanation, ...]]:
    """The one hypothesis that stands, if there is one, and all of them, the closest first.

    They are tried on all leaves; then, where the recipe gives the steps of some, on the others; and
    then on each of those by itself. The leaves of a group have a recipe of their own.
    """
    recipe.check_groups([*recorded.leaves])
    if recipe.groups:
        ungrouped = replace(recipe, groups={})
        misfit = float(misfits(ungrouped, recorded).max())
        if misfit <= 1:
            alone = "the groups of parameters are not set apart"
            return alone, (Explanation(alone, misfit),)
    causes: dict[str, list[str]] = {}
    tried: tuple[Explanation, ...] = ()
    alike = [*_alike(recipe, recorded)]
    failing = [(own, paths) for own, paths in alike if _fails(own, recorded.of(paths))]
    for own, paths in failing:
        found, of_these = _in_leaves(own, recorded.of(paths))
        tried = tried or of_these
        if found is None:
            return None, tried
        for name, at in found.items():
            causes.setdefault(name, []).extend(at)
    if not causes:
        return None, tried
    everywhere = len(causes) == 1 and len(next(iter(causes.values()))) == len(recorded.leaves)
    told = [name if everywhere else f"{name}, in {listed(at)}" for name, at in causes.items()]
    return "; ".join(told), tried


def _alike(recipe: Recipe, recorded: Moves) -> Iterator[tuple[Recipe, list[str]]]:
    """The leaves that have the same recipe."""
    groups: list[tuple[Recipe, list[str]]] = []
    for path in recorded.leaves:
        own = recipe.at(path)
        paths = next((paths for known, paths in groups if known == own), None)
        if paths is None:
            groups.append((own, [path]))
        else:
            paths.append(path)
    yield from groups


def _fails(recipe: Recipe, recorded: Moves) -> bool:
    return not bool((misfits(recipe, recorded) <= 1).all())


def _in_leaves(
    recipe: Recipe, recorded: Moves
) -> tuple[dict[str, list[str]] | None, tuple[Explanation, ...]]:
    """What stands, and in which leaves; None unless it explains all of them."""
    name, tried = _explained(recipe, recorded, [*other_rules(recipe)])
    if name is not None:
        return {name: [*recorded.leaves]}, tried
    paths = [path for path in recorded.leaves if _fails(recipe, recorded.of([path]))]
    if len(paths) < len(recorded.leaves):
        name, of_these = _explained(recipe, recorded.of(paths))
        if name is not None:
            return {name: paths}, of_these
    if len(recorded.leaves) == 1 or len(paths) > _MANY:
        return None, tried
    found: dict[str, list[str]] = {}
    for path in paths:
        name, _ = _explained(recipe, recorded.of([path]))
        if name is None:
            return None, tried
        found.setdefault(name, []).append(path)
    return (found if 1 < len(found) <= _CAUSES else None), tried


# So many leaves are looked into one by one, and so many causes are told together.
_MANY, _CAUSES = 16, 3


def _explained(
    recipe: Recipe, recorded: Moves, last_resort: Sequence[tuple[str, Recipe]] = ()
) -> tuple[str | None, tuple[Explanation, ...]]:
    """What stands in these leaves, and all that was tried.

    Judged on all updates, or else on those from the first that the recipe fails in: a difference
    may come into play late.
    """
    everywhere = _ranked(_hypotheses(recipe, recorded, 0), recorded, since=0)
    if everywhere[0].misfit <= 1:
        return _standing(everywhere, recorded), everywhere
    failing = np.flatnonzero(misfits(recipe, recorded) > 1)
    since = int(failing[0]) if failing.size else 0
    if since:
        later = _ranked(_hypotheses(recipe, recorded, since), recorded, since)
        if (name := _standing(later, recorded, since)) is not None:
            return name, later
    others = [Hypothesis(name, other, frozenset({"rule"})) for name, other in last_resort]
    if others:
        beside = _ranked(others, recorded, 0)
        everywhere = tuple(sorted([*everywhere, *beside], key=lambda e: e.misfit))
    return _standing(everywhere, recorded), everywhere


def _standing(ranked: tuple[Explanation, ...], recorded: Moves, since: int = 0) -> str | None:
    """The hypothesis that fits the steps, if every other is ten times as far off and does not.

    Two that are the same steps by their formulas are told together.
    """
    first, *others = ranked
    if others and others[0].misfit <= 1 and _the_same_steps(first, others[0]):
        second, others = others[0], others[1:]
        worst = max(first.misfit, second.misfit)
        name = " or ".join(e.name for e in sorted((first, second), key=_gradient_last))
    else:
        worst, name = first.misfit, first.name
    rival = others[0].misfit if others else np.inf
    stands = worst <= 1 < rival and rival >= _CLEARLY * worst
    moved = 0
    for part in recorded.blocks():
        moved += sum(int(np.count_nonzero(x[since:])) for x in (part.steps, part.gradients))
    return name if stands and moved >= 2 * _EVIDENCE and first.name != AS_IT_IS else None


def _the_same_steps(left: Explanation, right: Explanation) -> bool:
    both = {*left.changes, *right.changes}
    if len(left.changes) != 1 or len(right.changes) != 1 or len(both) != 2:
        return False
    by_scale = "gradient_factor" in both and bool(both & _OF_SCALE)
    return by_scale or both == {"decay_times_rate", "weight_decay"}


def _gradient_last(explanation: Explanation) -> bool:
    return "gradient_factor" in explanation.changes


def _hypotheses(recipe: Recipe, recorded: Moves, since: int) -> list[Hypothesis]:
    """All that may be: the recipe as it is, known differences, and numbers solved from the steps.

    A number is not solved for where a known value of it stands already.
    """
    known = [
        Hypothesis(name, variant, frozenset(changed(recipe, variant)))
        for name, variant in [
            (AS_IT_IS, recipe),
            *(v for v in variants(recipe) if _bites(v[1], recorded)),
            *restepped(recipe, recorded),
            *_rescaled(recipe, recorded, since),
            *_not_divided(recipe, recorded),
        ]
    ]
    values = [
        Hypothesis(
            number.told.format(f"{value:.6g}"),
            number.change(value),
            frozenset({number.field}),
            (number, value),
        )
        for number, value in solved(recipe, recorded, since)
    ]
    return [*known, *values]


def _bites(recipe: Recipe, recorded: Moves) -> bool:
    """Whether the recipe's clipping, if it has one, ever does anything: or it would be none."""
    if recipe.max_value is not None:
        return any((np.abs(part.gradients) > recipe.max_value).any() for part in recorded.blocks())
    if recipe.max_norm is None or recipe.clipped in ("as a whole", "by leaf"):
        return True
    if recipe.clipped == "by micro-batch":
        return bool((recorded.part_norms > recipe.max_norm).any())
    of_steps = next(iter(norms_of(recipe, recorded).values())).steps
    return of_steps is not None and bool((of_steps > recipe.max_norm).any())


def _ranked(hypotheses: list[Hypothesis], recorded: Moves, since: int) -> tuple[Explanation, ...]:
    """The hypotheses, judged on the updates from `since` on."""
    sample = recorded.sampled(_SAMPLE)
    at_first = [_worst(h.recipe, sample, since) for h in hypotheses]
    hopeless = max(_CLEARLY, _CLEARLY**2 * min(at_first))
    tried: list[Explanation] = []
    for hypothesis, misfit in zip(hypotheses, at_first, strict=True):
        name, fixed = hypothesis.name, hypothesis.changes
        if misfit < hopeless or name == AS_IT_IS:
            misfit = _worst(hypothesis.recipe, recorded, since)
            if hypothesis.number is not None and misfit <= 1:
                if any(e.misfit <= 1 and fixed & _plain(e.changes) for e in tried):
                    continue  # a known value of it stands
                name = _rounded(*hypothesis.number, recorded, since, misfit)
        tried.append(Explanation(name, misfit, fixed))
    return tuple(sorted(tried, key=lambda explanation: explanation.misfit))


def _plain(changes: frozenset[str]) -> frozenset[str]:
    """The numbers that a change of these fields sets; a pair has two."""
    return changes | ({"betas[0]", "betas[1]"} if "betas" in changes else set())


def _worst(recipe: Recipe, recorded: Moves, since: int) -> float:
    if recipe.registered and looks_at_axes(recipe.rule):
        recorded = recorded.whole.of([*recorded.leaves]) if recorded.whole else recorded
    return float(misfits(recipe, recorded, since).max())


def _rounded(number: Number, value: float, recorded: Moves, since: int, misfit: float) -> str:
    """The name with the shortest value that fits as well, to a half more of rounding."""
    for digits in range(1, 6):
        short = float(f"{value:.{digits}g}")
        if short == number.value:
            continue
        if _worst(number.change(short), recorded, since) <= min(1.0, 1.5 * misfit + 0.05):
            return number.told.format(f"{short:g}")
    return number.told.format(f"{value:.6g}")


def _rescaled(recipe: Recipe, recorded: Moves, since: int) -> Iterator[tuple[str, Recipe]]:
    """The learning rates all off by one factor, the one that fits best.

    Where every gradient is clipped, the norm it is clipped to cannot be told from the learning
    rate: both fit, and neither is named.
    """
    square, product = 0.0, 0.0
    norms = norms_of(recipe, recorded)
    for path, leaf in recorded.leaves.items():
        for _, part in blocks_for(recipe, leaf):
            both = steps(recipe, part, norms[path]), part.steps
            predicted, moved = (s[since:].cumsum(axis=0) for s in both)
            square += float((predicted * predicted).sum())
            product += float((predicted * moved).sum())
    factor = product / square if square else 1.0
    if factor in (0.0, 1.0):
        return
    rates = tuple((factor * recipe.rates(len(recorded.norms))).tolist())
    name = f"the learning rate is {factor:.6g} times as large"
    yield name, replace(recipe, lr=rates, stepped_every=1)


def _not_divided(recipe: Recipe, recorded: Moves) -> Iterator[tuple[str, Recipe]]:
    """The gradients of micro-batches added up, where their mean was recorded."""
    if count := len(recorded.part_norms):
        name = f"the gradients of {count} micro-batches are added up, not averaged"
        yield name, replace(recipe, gradient_factor=float(count))
