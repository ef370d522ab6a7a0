"""Where in an update two trainings part, and which known difference explains it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from ml_dtypes import finfo

from jaxgd.equivalence.comparison.deviations import Series
from jaxgd.equivalence.comparison.leaf_by_leaf import Judged, judged_by_leaf
from jaxgd.equivalence.comparison.report import Report
from jaxgd.equivalence.diagnosis.explanation import AS_IT_IS, Explanation, explain
from jaxgd.equivalence.diagnosis.first_layer import Parting, parting_layer
from jaxgd.equivalence.diagnosis.model_causes import model_cause
from jaxgd.equivalence.diagnosis.upstream_causes import batch_cause
from jaxgd.equivalence.recordings.batch import in_coarser_precision, outputs_by_row, same_rows
from jaxgd.equivalence.recordings.optimizer_view import moves
from jaxgd.equivalence.recordings.pytree import Leaves, listed
from jaxgd.equivalence.recordings.update import Recording, gradient_of, read_update, stage
from jaxgd.equivalence.rule.following import follows
from jaxgd.equivalence.rule.recipe import Recipe

Sides = Sequence[list | None]
Stage = Literal[
    "start",
    "batch",
    "forward",
    "loss",
    "gradient",
    "buffers",
    "optimizer state",
    "parameters",
    "unknown",
]
UNKNOWN: Final = "unknown"

_OF_THE_MODEL: tuple[Stage, ...] = ("forward", "loss", "gradient", "buffers")
_OF_THE_OPTIMIZER: tuple[Stage, ...] = ("optimizer state", "parameters")

# Fractions of what a comparison allows. Up to the first, parameters before an update carry too
# little for a later stage to part by; beyond the second, a stage may itself be what is at fault.
_CLEAN = 0.05
_SUSPECT = 0.25


# A gradient so many roundings of the largest one may be rounding itself, as of a bias before a
# normalization: then both sides' are as good as independent. Of n independent pairs the cosine is
# about n**-0.5; a sign or a factor leaves it at 1.
_NULL = 32.0
_INDEPENDENT = 0.5
_DEVIATIONS = 4.0

_THE_SAME_STEPS = (
    "Under SGD the gradient, scaled by as much after it was recorded, makes the same steps."
)
_ADDED_UP = "That is what {} micro-batches give whose gradients are added up, not averaged."

_AMPLIFIED = (
    "The same to rounding, amplified by the optimizer: the parameters part, but in every update "
    "both sides' gradients agree, and their steps follow from them."
)


@dataclass(frozen=True)
class Diagnosis:
    """What differs; `str` tells it.

    update: the first update in which a stage parts, counted from 1; 0 is the start. None: no stage
        parts, or the parameters alone do by rounding that the optimizer amplifies: the trainings
        are the same to rounding.
    stage: which stage is at fault, or "unknown"; those after it follow from it.
    cause: the known difference that explains it, or "unknown".
    considered: what was tried on the optimizer, the closest first.
    remark: what else was found out.
    not_judged: the leaves whose gradient is as small as rounding, and independent on both sides, so
        that they were left out; "buffers" where they part once the parameters have.
    layer: where activations were recorded, the first layer that parts.
    """

    update: int | None
    stage: Stage | None
    cause: str = UNKNOWN
    considered: tuple[Explanation, ...] = ()
    remark: str = ""
    layer: Parting | None = None
    not_judged: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.update is None:
            told = self.remark or "Nothing parts: every stage is the same, to rounding."
            return "\n".join([told, *self.left_out])
        where = f"in update {self.update}" if self.update else "at the start"
        return "\n".join(
            [
                f"The trainings part {where}.",
                f"Stage: {self.stage}.",
                *([str(self.layer)] if self.layer is not None else []),
                f"Cause: {self.cause}.",
                *(f"  {e.misfit:.2g} x rounding is left by: {e.name}" for e in self._telling()),
                *([self.remark] if self.remark else []),
                *self.left_out,
            ]
        )

    @property
    def left_out(self) -> list[str]:
        """What was not judged, in a line, if there is any."""
        if not self.not_judged:
            return []
        return [f"Not judged, as no more than rounding may show there: {listed(self.not_judged)}."]

    def _telling(self) -> list[Explanation]:
        """The three closest hypotheses that explain something, and the recipe as it is."""
        for i, explanation in enumerate(self.considered):
            if explanation.name == AS_IT_IS:
                return [*self.considered[: min(i, 3)], explanation]
        return []


def diagnose(
    actual: Recording,
    expected: Recording,
    recipe: Recipe | None = None,
    *,
    tolerance: float | None = None,
    report: Report | None = None,
) -> Diagnosis:
    """The first stage of the first update that two recorded trainings part in, and its cause.

        batch -> forward -> loss -> gradient -> buffers -> optimizer state -> parameters

    A stage is at fault if it differs though all before it agree; one that was not recorded counts
    as part of the next. Rows of a batch may lie in any order. Where parameters differ already
    before the update, only the optimizer can be told from the rest: its steps are made again in
    float64 from each side's own gradients, and it is at fault if the recipe gives the expected
    side's steps but not the actual side's. Then the known differences are tried on them
    (`jaxgd.equivalence.diagnosis.differences`); one is named only if it fits to rounding while
    every other, the recipe as it is included, is ten times as far off.

    actual, expected: one `Update` for each update from the first on, the optimizer's state being
        zero before it. To see each update from the same state, replay the actual side: `lockstep`.
    recipe: the optimizer that both are meant to run; None tells the stage, but no cause in it.
    tolerance: the fraction that `compare` allows at every stage; None is the dtype's own.
    report: what `compare` says, with that tolerance, of both sides' parameters at the start and
        after each update, if that is known: they are not compared again.

    ValueError or TypeError when the sides hold other leaves, shapes or dtypes, or no update.
    """
    if not actual or not expected:
        raise ValueError(
            "Both sides hold at least one update; "
            f"got {len(actual)} and {len(expected)}. Record the runs first."
        )
    actual, expected = ([*map(read_update, side)] for side in (actual, expected))
    start = _of_leaves([[side[0].params] for side in (actual, expected)], tolerance)
    if start is not None and start[0] > 1:
        return Diagnosis(0, "start")
    same = _updates_of_the_same_rows(actual, expected)
    found = _of_the_same_rows(actual[:same], expected[:same], recipe, tolerance, report)
    if found.update is None and same < max(len(actual), len(expected)):
        return Diagnosis(same + 1, "batch", batch_cause(actual, expected, same) or UNKNOWN)
    return found


def _of_the_same_rows(
    actual: Recording,
    expected: Recording,
    recipe: Recipe | None,
    tolerance: float | None,
    report: Report | None,
) -> Diagnosis:
    """The diagnosis of updates whose batches agree."""
    if not actual:
        return Diagnosis(None, None)
    after = _after(actual, expected, tolerance, report)
    ours, theirs = ([*map(gradient_of, side)] for side in (actual, expected))
    by_leaf = judged_by_leaf(ours, theirs, tolerance)
    null = _null_directions(by_leaf, ours, theirs)
    gradient = _farthest(by_leaf, len(actual), null)
    stages = _times_allowed(actual, expected, tolerance, gradient, after)
    found = _judged(actual, expected, recipe, tolerance, stages)
    return replace(found, not_judged=(*sorted(null), *found.not_judged))


def _judged(
    actual: Recording,
    expected: Recording,
    recipe: Recipe | None,
    tolerance: float | None,
    stages: Mapping[Stage, Series],
) -> Diagnosis:
    """The diagnosis, once it is known how far each stage of each update strays."""
    beyond = np.flatnonzero(np.max([*stages.values()], axis=0) > 1)
    if not beyond.size:
        return Diagnosis(None, None)
    at = int(beyond[0])
    here = {name: float(series[at]) for name, series in stages.items()}
    before = _of_leaves([stage(side, "params") for side in (actual, expected)], tolerance)
    assert before is not None
    suspect = _first_at_fault(here) if before[at] <= _CLEAN else UNKNOWN
    if suspect in _OF_THE_MODEL:
        layer = parting_layer(actual[at], expected[at], tolerance)
        named = model_cause(actual, expected, at, suspect, layer) or UNKNOWN
        return Diagnosis(at + 1, suspect, named, remark=_whole_factor(named), layer=layer)
    if recipe is None:
        return Diagnosis(at + 1, suspect, remark="Give the recipe to look into the optimizer.")

    moved = moves(actual)
    if not follows(recipe, moves(expected)):
        remark = "The recipe does not give the expected side's steps, so it proves nothing."
        return Diagnosis(at + 1, suspect, remark=remark)
    if follows(recipe, moved):
        of_the_model = {name: stages[name] for name in stages if name in _OF_THE_MODEL}
        if not any(_part(stages, name) for name in of_the_model if name != "buffers"):
            unjudged = ("buffers",) if _part(stages, "buffers") else ()
            return Diagnosis(None, None, remark=_AMPLIFIED, not_judged=unjudged)
        first = _first_at_fault({name: here[name] for name in of_the_model})
        remark = "Both sides' steps follow from their own gradients: it is not the optimizer."
        return Diagnosis(at + 1, first, remark=remark)
    cause, tried = explain(recipe, moved)
    by_optimizer: Stage = suspect if suspect in _OF_THE_OPTIMIZER else "parameters"
    remark = _THE_SAME_STEPS if _is_also_a_scale(recipe, cause) else ""
    return Diagnosis(at + 1, by_optimizer, cause or UNKNOWN, tried, remark)


def _part(stages: Mapping[Stage, Series], name: Stage) -> bool:
    return name in stages and bool((stages[name] > 1).any())


def _is_also_a_scale(recipe: Recipe, cause: str | None) -> bool:
    """Whether another scale of the gradient makes the same steps as the cause does."""
    plain = recipe.rule == "sgd" and not (recipe.weight_decay or recipe.max_norm)
    rescaled = cause is not None and cause.startswith("the learning rate is")
    return plain and rescaled and recipe.max_value is None


def _whole_factor(cause: str) -> str:
    """What a gradient that is a whole number of times as large may come from."""
    found = re.fullmatch(r"the gradient is (\d+) times as large", cause)
    return _ADDED_UP.format(found[1]) if found else ""


def _updates_of_the_same_rows(actual: Recording, expected: Recording) -> int:
    """How many updates from the first on see the same rows; those not recorded are taken to."""
    ours, theirs = stage(actual, "batch"), stage(expected, "batch")
    if ours is None or theirs is None:
        if len(actual) != len(expected):
            raise ValueError(
                "Both sides record the same updates, or their batches, which tell them apart; "
                f"got {len(actual)} and {len(expected)} updates. Record Update.batch."
            )
        return len(actual)
    pairs = zip(ours, theirs, strict=False)
    different = (i for i, (left, right) in enumerate(pairs) if not same_rows([left], [right]))
    return next(different, min(len(ours), len(theirs)))


def _times_allowed(
    actual: Recording,
    expected: Recording,
    tolerance: float | None,
    gradient: Series,
    parameters: Series,
) -> dict[Stage, Series]:
    """For each recorded stage, the error as a multiple of what is allowed, at each update."""
    sides = actual, expected
    stages: Mapping[Stage, Series | None] = {
        "forward": _of_leaves(in_coarser_precision(*map(outputs_by_row, sides)), tolerance),
        "loss": _of_leaves([stage(side, "loss") for side in sides], tolerance),
        "gradient": gradient,
        "buffers": _of_leaves([stage(side, "updated_buffers") for side in sides], tolerance),
        "optimizer state": _of_leaves([stage(side, "opt_state") for side in sides], tolerance),
        "parameters": parameters,
    }
    return {name: series for name, series in stages.items() if series is not None}


def _after(
    actual: Recording, expected: Recording, tolerance: float | None, report: Report | None
) -> Series:
    """The same of the parameters after each update, which a report of just these tells."""
    if report is not None and report.entries == len(actual) + 1:
        return np.max([leaf.times_allowed for leaf in report.leaves], axis=0)[1:]
    ours, theirs = (
        [side[0].params, *(update.updated for update in side)] for side in (actual, expected)
    )
    return _farthest(judged_by_leaf(ours, theirs, tolerance), len(actual) + 1)[1:]


def _of_leaves(runs: Sides, tolerance: float | None) -> Series | None:
    """The same of one stage of both sides, if both have it."""
    actual, expected = runs
    if actual is None or expected is None:
        return None
    return _farthest(judged_by_leaf(actual, expected, tolerance), len(actual))


def _farthest(
    leaves: Mapping[str, Judged], updates: int, but: frozenset[str] = frozenset()
) -> Series:
    """The same of the leaf that is the farthest beyond, at each update."""
    judged = [leaf.times_allowed for path, leaf in leaves.items() if path not in but]
    return np.max(judged, axis=0) if judged else np.zeros(updates)


def _null_directions(
    judged: Mapping[str, Judged], actual: list[Leaves], expected: list[Leaves]
) -> frozenset[str]:
    """The leaves whose gradient is rounding on both sides: moving them changes no function.

    It is as small as rounding, and one side's is independent of the other's.
    """
    null = []
    for which, side in enumerate((actual, expected)):
        scale = {path: max(leaf.sizes[which]) for path, leaf in judged.items()}
        floats = [leaf.dtype for leaf in side[0].values() if leaf.dtype.kind not in "biu"]
        eps = max((float(finfo(dtype).eps) for dtype in floats), default=0.0)
        largest = max(scale.values(), default=0.0)
        null.append({path for path, size in scale.items() if size <= _NULL * eps * largest})
    tiny = (path for path in null[0] & null[1] if judged[path].sizes.any())  # zeros can be judged
    return frozenset(path for path in tiny if _independent(path, actual, expected))


def _independent(path: str, actual: list[Leaves], expected: list[Leaves]) -> bool:
    """Whether a leaf's gradients, all updates taken together, are as good as uncorrelated."""
    product, entries = np.zeros((2, 2)), 0
    for ours, theirs in zip(actual, expected, strict=True):
        both = np.stack([np.ravel(g[path]).astype(np.float64) for g in (ours, theirs)])
        product += both @ both.T
        entries += both.shape[1]
    if not product.any():  # as good as zero, on both sides
        return False
    cosine = abs(product[0, 1]) / max(float(np.sqrt(product[0, 0] * product[1, 1])), 1e-300)
    return bool(cosine < max(_INDEPENDENT, _DEVIATIONS / entries**0.5))


def _first_at_fault(times_allowed: Mapping[Stage, float]) -> Stage:
    """The first stage that parts, if those before it are beyond suspicion."""
    for name, value in times_allowed.items():
        if value > 1:
            return name
        if value > _SUSPECT:
            break
    return UNKNOWN
