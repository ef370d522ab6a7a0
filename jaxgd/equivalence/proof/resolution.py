"""What could hide in a proof: how fine its stages are, and which leaves are rounding alone."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.proof.observation import OF_LAYERS, STAGES, Observation
from jaxgd.equivalence.proof.twins import Rounding
from jaxgd.equivalence.rule.following import Fit

# Of what is allowed in one update, the part that honest pairs use in the median of 8 updates or
# more: of eight ports and 36 small networks at most 0.09 in forward and gradient, 0.1 in the loss,
# 0.16 in BatchNorm's variances. An eps of 1e-6 in a LayerNorm uses 0.28 to 0.8.
_TYPICAL = 0.25
_EVIDENCE = 8

# A gradient of which twins keep less than this is rounding: two honest ones are all of it apart.
_NULL = 0.25


class Measured:
    """What the updates of a proof have shown, so far."""

    def __init__(self) -> None:
        self.hidden: dict[str, list[float]] = defaultdict(list)  # by stage, one for each update
        self.used: dict[tuple[str, str], list[float]] = defaultdict(list)  # by what is allowed
        self.bounds: dict[tuple[str, str], list[float]] = defaultdict(list)  # of layers, / scale
        self.noise: dict[str, list[float]] = defaultdict(list)  # by gradient, rounding / scale
        self.settled: list[int] = []
        self.lost = False
        self.updates = 0
        self.may_be_first = False  # whether `persistent` may yet name the last update

    def add(
        self,
        distance: Rounding,
        rounded: Rounding,
        allowed: Rounding,
        scale: Rounding,
        observed: Observation,
        *,
        settled: bool,
    ) -> None:
        """Takes the numbers of one more update."""
        self.updates += 1
        if settled:
            self.settled.append(self.updates)
        self.may_be_first = False
        for leaf, size in distance.items():
            used = _fraction(size, allowed[leaf])
            first = used > _TYPICAL and not any(u > _TYPICAL for u in self.used[leaf])
            self.may_be_first |= first
            self.used[leaf].append(used)
            if leaf[0] in OF_LAYERS:
                self.bounds[leaf].append(_fraction(allowed[leaf], scale[leaf]))
        for stage in STAGES:
            leaves = observed.get(stage, {})
            judged = [path for path in leaves if (stage, path) in allowed and leaves[path].size]
            if not judged or stage in OF_LAYERS:  # they tell where, and resolve what the stages do
                continue
            fractions = [_fraction(allowed[stage, p], scale[stage, p]) for p in judged]
            self.hidden[stage].append(_weighted_median(fractions, [leaves[p].size for p in judged]))
            self.lost |= not all(np.isfinite(leaves[p].astype(np.float64)).all() for p in judged)
        for path in observed["gradient"]:
            leaf = ("gradient", path)
            self.noise[path].append(_fraction(rounded.get(leaf, 0.0), scale[leaf]))

    def typical(self, stage: str, layer: str) -> tuple[float, float]:
        """A layer's deviation in the median update, and the part of its bound that it may use."""
        used, bounds = (np.array(of[stage, layer]) for of in (self.used, self.bounds))
        return float(np.median(used * bounds)), _TYPICAL * float(np.median(bounds))


def of_passes(measured: Measured) -> dict[str, float]:
    """By stage, the fraction that could hide in at least half of the numbers, at the median."""
    return {stage: float(np.median(hidden)) for stage, hidden in measured.hidden.items()}


def persistent(measured: Measured) -> tuple[str, str, float, int] | None:
    """The first stage, and its leaf, that differs by a little in most of the updates.

    Its median use of what is allowed, by the quarter that rounding, which is now here and now
    there, may use of it; and the first update, counted from 0, that uses as much.
    """
    if measured.updates < _EVIDENCE:
        return None
    medians = {leaf: float(np.median(used)) for leaf, used in measured.used.items()}
    for stage in STAGES:
        of_stage = {path: used for (of, path), used in medians.items() if of == stage}
        worst = first_or_worst(stage, of_stage, _TYPICAL)
        if worst is not None and of_stage[worst] > _TYPICAL:
            first = np.flatnonzero(np.array(measured.used[stage, worst]) > _TYPICAL)[0]
            return stage, worst, of_stage[worst] / _TYPICAL, int(first)
    return None


def first_or_worst(stage: str, used: Mapping[str, float], beyond: float) -> str | None:
    """Of the layers the first that is beyond; of the leaves of another stage the farthest."""
    if stage in OF_LAYERS:
        return next((name for name, size in used.items() if size > beyond), None)
    return max(used, key=used.__getitem__, default=None)


def of_steps(fits: Mapping[str, Fit]) -> float:
    """The fraction of the way that could hide in at least half of the parameters that move."""
    moving = [fit for fit in fits.values() if np.isfinite(fit.resolution[-1])]
    if not moving:
        return float("inf")
    return _weighted_median([f.resolution[-1] for f in moving], [f.entries for f in moving])


def null_directions(measured: Measured) -> tuple[str, ...]:
    """The leaves whose gradient is rounding in most of the updates."""
    return tuple(path for path, noise in measured.noise.items() if np.median(noise) > _NULL)


def _fraction(size: float, scale: float) -> float:
    if scale == 0:
        return 0.0 if size == 0 else float("inf")
    return size / scale


def _weighted_median(values: list[float], weights: list[int]) -> float:
    order = np.argsort(values)
    filled: Float[np.ndarray, " n"] = np.cumsum(np.asarray(weights, np.float64)[order])
    return float(np.asarray(values)[order][np.searchsorted(filled, filled[-1] / 2)])
