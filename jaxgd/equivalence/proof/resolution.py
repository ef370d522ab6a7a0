"""What could hide in a proof: how fine its stages are, and which leaves are rounding alone."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.proof.observation import STAGES, Observation
from jaxgd.equivalence.proof.twins import Rounding
from jaxgd.equivalence.rule.following import Fit

# A gradient of which twins keep less than this is rounding: two honest ones are all of it apart.
_NULL = 0.25


class Measured:
    """What the updates of a proof have shown, so far."""

    def __init__(self) -> None:
        self.hidden: dict[str, list[float]] = defaultdict(list)  # by stage, one for each update
        self.noise: dict[str, list[float]] = defaultdict(list)  # by gradient, rounding / scale
        self.settled: list[int] = []
        self.lost = False
        self.updates = 0

    def add(
        self,
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
        for stage in STAGES:
            leaves = observed.get(stage, {})
            judged = [path for path in leaves if (stage, path) in allowed and leaves[path].size]
            if not judged:
                continue
            fractions = [_fraction(allowed[stage, p], scale[stage, p]) for p in judged]
            self.hidden[stage].append(_weighted_median(fractions, [leaves[p].size for p in judged]))
            self.lost |= not all(np.isfinite(leaves[p].astype(np.float64)).all() for p in judged)
        for path in observed["gradient"]:
            leaf = ("gradient", path)
            self.noise[path].append(_fraction(rounded.get(leaf, 0.0), scale[leaf]))


def of_passes(measured: Measured) -> dict[str, float]:
    """By stage, the fraction that could hide in at least half of the numbers, at the median."""
    return {stage: float(np.median(hidden)) for stage, hidden in measured.hidden.items()}


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
