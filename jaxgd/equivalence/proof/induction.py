"""The proof by induction: from the same parameters, both sides make the same update."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxgd.equivalence.comparison.leaf_by_leaf import RESOLVES, compare
from jaxgd.equivalence.diagnosis.explanation import explain
from jaxgd.equivalence.diagnosis.first_layer import Direction, Parting
from jaxgd.equivalence.diagnosis.model_causes import model_cause
from jaxgd.equivalence.diagnosis.upstream_causes import batch_cause
from jaxgd.equivalence.proof.observation import (
    OF_LAYERS,
    STAGES,
    apart,
    check_recorded,
    epsilons,
    first_shapes,
    in_rows_order,
    layers_in_common,
    observe,
    scales,
    with_layers,
)
from jaxgd.equivalence.proof.replay import Step, check_batches, stepped
from jaxgd.equivalence.proof.resolution import (
    Measured,
    first_or_worst,
    null_directions,
    of_passes,
    of_steps,
    persistent,
)
from jaxgd.equivalence.proof.twins import Rounding, rounding
from jaxgd.equivalence.proof.verdict import Proof
from jaxgd.equivalence.recordings.batch import batch_leaves, same_rows, to_order
from jaxgd.equivalence.recordings.deviation import largest_difference
from jaxgd.equivalence.recordings.optimizer_view import moves
from jaxgd.equivalence.recordings.pytree import in_memory, leaves_of
from jaxgd.equivalence.recordings.update import Recording, Update, read_update
from jaxgd.equivalence.rule.following import fits
from jaxgd.equivalence.rule.recipe import Recipe

# How many times its own rounding, as two twins measure it, another implementation may stray.
MULTIPLE = 32.0

_TWINS = 2
_CLOSER, _FARTHER = 24, 2.0  # where that is exceeded: so many twins, moved so many roundings
_ROUNDINGS = 4.0


class Exceeded(NamedTuple):
    """The first stage and leaf of an update that parts."""

    stage: str
    leaf: str
    times_allowed: float
    layer: Parting | None = None  # the first in which the stage parts


def prove(
    step: Step,
    expected: Recording,
    reference: Step,
    recipe: Recipe | None = None,
    *,
    start: Any,
    start_buffers: Any = None,
    batches: Sequence[Any] | None = None,
    multiple: float | int = MULTIPLE,
    resolves: float = RESOLVES,
    seed: int = 0,
) -> Proof:
    """Whether two trainings are the same, shown update by update from the reference's parameters.

    Two runs that go freely carry on what rounding has done, and an optimizer may blow it up. Here
    both sides begin every update where the reference began it. They are the same training if

        the starts agree, and the batches do;
        forward, loss, gradient and buffers agree in every update and leaf:
            |actual - expected| <= multiple * rounding + 4 * eps * max|expected|;
        the steps of both sides follow, by the recipe, from their own gradients.

    rounding is the leaf's own, measured in that update: how far the reference strays from itself at
    parameters that are moved by a rounding, with the rows of the batch in another order (two such
    twins). Where that is exceeded, 24 more twins, moved twice as far, settle whether it is rounding
    that jumps, or a difference. Rounding is now here and now there: a leaf that uses more than a
    quarter of what is allowed in the median of all updates (8 or more) parts, too.

    step: the actual side: `lockstep` says what it takes and gives.
    expected: the reference's recording, with its batches, from the first update on.
    reference: the reference's pass, called like `step`; what it returns as `params` and `updated`
        is not read, and it may leave them out (None). Layers that it does not record are not
        examined: their rounding is not known.
    recipe: the optimizer that both are meant to run; without it nothing is proven.
    start, start_buffers: what the actual side itself begins with: `step` never shows it.
    batches: what the actual side's own loader gives; None, if it has none of its own.
    resolves: the largest fraction that may hide in a stage; "unproven" where more may.
    seed: of the twins.

    ValueError or TypeError when the sides hold other leaves, shapes or batches that cannot be read,
    or when `step` or `reference` leaves out outputs, a loss or buffers that `expected` records.
    """
    if not expected:
        raise ValueError("A proof takes at least one update; got none. Record the run first.")
    if not multiple > 0 or not 0 < resolves < 1:
        raise ValueError(
            "multiple is positive and resolves is in (0, 1); "
            f"got {multiple} and {resolves}. Use {MULTIPLE:g} and {RESOLVES:g}."
        )
    check_batches(expected)
    begun = _parted_before(expected, start, start_buffers, batches)
    if begun is not None:
        return begun
    generator, ours, measured = np.random.default_rng(seed), [], Measured()
    exceeded = None
    for at, theirs in enumerate(expected):
        ours.append(read_update(stepped(step, theirs)))
        _check_beginning(ours[at], theirs)
        exceeded = _examined(ours[at], theirs, reference, multiple, generator, measured)
        if exceeded is not None:
            break
        if not measured.may_be_first:  # no cause will be asked of this update: its layers may go
            ours[at] = ours[at]._replace(activations=None)
    return _concluded(ours, expected, recipe, exceeded, measured, resolves)


def _parted_before(
    expected: Recording, start: Any, start_buffers: Any, batches: Sequence[Any] | None
) -> Proof | None:
    """Where the two sides part before anything is computed: at the start, or in the data."""
    updates = len(expected)
    for theirs, ours in ((expected[0].params, start), (expected[0].buffers, start_buffers)):
        if theirs is None or (ours is None and theirs is expected[0].buffers):
            continue
        found = compare([leaves_of(ours, "start")], [leaves_of(theirs, "expected")])
        if found.parted_at is not None:
            leaf, times = found.parted[0].path, float(found.parted[0].times_allowed[0])
            return Proof("parted", updates, 0, "start", leaf, times)
    if batches is None:
        return None
    both = zip(batches, (update.batch for update in expected), strict=False)
    at = next((i for i, (a, b) in enumerate(both) if not same_rows([a], [b])), None)
    if at is None and len(batches) != updates:
        at = min(len(batches), updates)
    if at is None:
        return None
    ours = [Update(None, None, None, batch) for batch in batches]
    cause = batch_cause(ours, expected, at) or "unknown"
    return Proof("parted", updates, at + 1, "batch", cause=cause)


def _check_beginning(ours: Update, theirs: Update) -> None:
    """ValueError unless our update has begun where theirs did."""
    given = leaves_of(in_memory(theirs.params), "params")
    for path, leaf in leaves_of(ours.params, "params").items():
        if (
            path not in given
            or leaf.shape != given[path].shape
            or (largest_difference(leaf, given[path]) != 0)
        ):
            raise ValueError(
                f"step must begin at the parameters it is given; '{path}' of the update that it "
                "returns is another. Set the parameters first, and record them before the update."
            )


def _examined(
    ours: Update,
    theirs: Update,
    reference: Step,
    multiple: float,
    generator: np.random.Generator,
    measured: Measured,
) -> Exceeded | None:
    """What parts in one update, if anything does; `measured` learns what could hide."""
    actual = observe(ours)
    check_recorded(actual, recorded := observe(theirs), "step")
    if ours.batch is not None:
        if not same_rows([ours.batch], [theirs.batch]):
            return Exceeded("batch", "", 0.0)
        if not _in_the_same_order(ours.batch, theirs.batch):
            actual = in_rows_order(actual, to_order(ours.batch, theirs.batch), recorded)
    seen = layers_in_common(actual, recorded)
    rounded = rounding(reference, theirs, seen, generator, twins=_TWINS)
    target = with_layers(seen, rounded)
    shaped = first_shapes(actual, target)
    distance, scale = apart(actual, target), scales(target)
    floor = {leaf: _ROUNDINGS * eps * scale[leaf] for leaf, eps in epsilons(actual, target).items()}
    allowed = _allowed(multiple, rounded, floor)
    exceeded = _first_exceeded(distance, allowed, scale)
    if exceeded is not None:
        closer = rounding(reference, theirs, target, generator, twins=_CLOSER, jitter=_FARTHER)
        rounded = {leaf: max(size, closer.get(leaf, 0.0)) for leaf, size in rounded.items()}
        allowed = _allowed(multiple, rounded, floor)
        if (still := _first_exceeded(distance, allowed, scale)) is not None:
            if shaped is not None and still.layer is not None and still.layer.layer == shaped.layer:
                return still._replace(layer=shaped)
            return still
    measured.add(distance, rounded, allowed, scale, target, settled=exceeded is not None)
    return None


def _in_the_same_order(actual: Any, expected: Any) -> bool:
    left, right = batch_leaves(actual), batch_leaves(expected)
    return left.keys() == right.keys() and all(
        np.array_equal(leaf, right[path], equal_nan=leaf.dtype.kind == "f")
        for path, leaf in left.items()
    )


def _allowed(multiple: float, rounded: Rounding, floor: Rounding) -> Rounding:
    return {leaf: multiple * rounded.get(leaf, 0.0) + least for leaf, least in floor.items()}


def _first_exceeded(distance: Rounding, allowed: Rounding, scale: Rounding) -> Exceeded | None:
    """The leaf that is farthest beyond what is allowed, in the first stage that has one.

    Of the layers it is the first one; where they agree forward and the loss parts, the backward one
    is told beside it.
    """
    found = []
    for stage in STAGES:
        times = {
            path: distance[of, path] / max(allowed[of, path], 1e-300)
            for of, path in distance
            if of == stage
        }
        worst = first_or_worst(stage, times, 1.0)
        if worst is not None and times[worst] > 1:
            found.append(_exceeded(stage, worst, times[worst], distance, allowed, scale))
    if not found:
        return None
    of_layers = [exceeded.layer for exceeded in found if exceeded.layer is not None]
    return found[0]._replace(layer=of_layers[0] if of_layers else None)


def _exceeded(
    stage: str, leaf: str, times: float, distance: Rounding, allowed: Rounding, scale: Rounding
) -> Exceeded:
    if stage not in OF_LAYERS:
        return Exceeded(stage, leaf, times)
    direction: Direction = "forward" if stage == "layers" else "backward"
    whole = scale[stage, leaf] or 1.0
    off, bound = (of[stage, leaf] / whole for of in (distance, allowed))
    return Exceeded(OF_LAYERS[stage], "", times, Parting(leaf, direction, off, bound))


def _concluded(
    ours: list[Update],
    expected: Recording,
    recipe: Recipe | None,
    exceeded: Exceeded | None,
    measured: Measured,
    resolves: float,
) -> Proof:
    """The verdict on the updates that were made."""
    updates, at = len(expected), len(ours) - 1
    if exceeded is None and (often := persistent(measured)) is not None:
        exceeded, at = _often(measured, *often[:3]), often[3]
    known: dict[str, Any] = {
        "null_directions": null_directions(measured),
        "settled": tuple(measured.settled),
        "not_recorded": _not_recorded(ours[0], expected[0]),
    }
    steps = _judged_steps(ours, expected[: len(ours)], recipe)
    if steps.parted_at is not None and (exceeded is None or steps.parted_at < at):
        told = steps.leaf, steps.times_allowed, steps.cause
        return Proof("parted", updates, steps.parted_at + 1, "parameters", *told, **known)
    if exceeded is not None:
        stage, leaf, times, layer = exceeded
        cause = model_cause(ours, expected, at, stage, layer) or "unknown"
        return Proof("parted", updates, at + 1, stage, leaf, times, cause, layer=layer, **known)
    resolution = {**of_passes(measured), **steps.resolution}
    reasons = [
        *steps.reasons,
        *(["Both sides hold NaN or infinities."] if measured.lost else []),
        *(
            f"A fraction of up to {size:.1g} could hide in the {stage}: more than {resolves:g}."
            for stage, size in resolution.items()
            if not size <= resolves
        ),
    ]
    verdict: Literal["unproven", "equivalent"] = "unproven" if reasons else "equivalent"
    return Proof(verdict, updates, resolution=resolution, reasons=tuple(reasons), **known)


def _often(measured: Measured, stage: str, leaf: str, times: float) -> Exceeded:
    """What differs by a little in most of the updates, in the median of them."""
    if stage not in OF_LAYERS:
        return Exceeded(stage, leaf, times)
    off, bound = measured.typical(stage, leaf)
    direction: Direction = "forward" if stage == "layers" else "backward"
    return Exceeded(OF_LAYERS[stage], "", times, Parting(leaf, direction, off, bound))


class Steps(NamedTuple):
    """Whether the steps of both sides follow from their own gradients."""

    parted_at: int | None = None  # counted from 0
    leaf: str = ""
    times_allowed: float = 0.0
    cause: str = "unknown"
    resolution: Mapping[str, float] = MappingProxyType({})
    reasons: tuple[str, ...] = ()


def _judged_steps(ours: list[Update], expected: Recording, recipe: Recipe | None) -> Steps:
    if recipe is None:
        return Steps(reasons=("The steps were not judged: give the recipe of the optimizer.",))
    if any((fit.misfit > 1).any() for fit in fits(recipe, moves(expected)).values()):
        return Steps(reasons=("The recipe does not give the reference's own steps.",))
    recorded = moves(ours)
    by_leaf = fits(recipe, recorded)
    misfit = np.max([fit.misfit for fit in by_leaf.values()], axis=0)
    failing = np.flatnonzero(misfit > 1)
    if not failing.size:
        return Steps(resolution={"parameters": of_steps(by_leaf)})
    at = int(failing[0])
    leaf = max(by_leaf, key=lambda path: by_leaf[path].misfit[at])
    return Steps(at, leaf, float(misfit[at]), explain(recipe, recorded)[0] or "unknown")


def _not_recorded(ours: Update, theirs: Update) -> tuple[str, ...]:
    """The stages that exist, and that the reference has not recorded."""
    stages = {"forward": theirs.outputs, "loss": theirs.loss}
    if theirs.buffers is not None or ours.updated_buffers is not None:
        stages["buffers"] = theirs.updated_buffers
    return tuple(name for name, value in stages.items() if value is None)
