"""How far two runs of the same training may stray from each other."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from ml_dtypes import finfo

from jaxgd.equivalence.comparison.deviations import Deviation, Series, ratio

# What a run makes of the difference it has already: gradient descent that does not diverge changes
# it by at most twice its size in one update (learning rate x curvature <= 2).
CARRIED = 2.0

# In float32, less than half of a relative fault of 1e-4, the smallest this package promises to see,
# and five times the 7e-6 by which optax.adam's bias correction is off. In float64 rounding is 5e8
# times finer, of which 1e3 go into margin. The half precisions see no more than this.
_FRACTION = {"float64": 1e-10, "float32": 4e-5, "float16": 2e-2, "bfloat16": 1e-1}

# Roundings (machine epsilon x the leaf's scale) in one entry. Gradients of the same batch, summed
# in another order, were measured up to 18 apart.
_ROUNDINGS = 32.0


class Allowed(NamedTuple):
    """The largest difference that still counts as rounding, at each update."""

    error: Series
    step_error: Series


def times_allowed(strayed: Deviation, allowed: Allowed) -> Series:
    """The larger of both differences, as a multiple of what is allowed; beyond 1 the runs part."""
    return np.maximum(
        ratio(strayed.error, allowed.error), ratio(strayed.step_error, allowed.step_error)
    )


@runtime_checkable
class Tolerance(Protocol):
    """Says what is allowed; a Calibration is one, and so is a FixedTolerance."""

    @property
    def tenfold_time(self) -> float | None:
        """The updates in which the reference's rounding grows tenfold, if it is chaotic."""

    def allowed(self, path: str, dtype: np.dtype, deviation: Deviation) -> Allowed:
        """What the leaf at `path` may stray from the expected run."""

    def describe(self, dtypes: list[str]) -> str:
        """The rule in words, for the dtypes that were compared."""


@dataclass(frozen=True)
class FixedTolerance:
    """A fraction of the distance travelled and of each update, plus the rounding of the leaf.

        |actual - expected| <= fraction * distance + (32 + sqrt(t)) * eps * scale
        |their updates' difference| <= fraction * update + 32 * eps * scale + 2 * error so far

    with the largest entry of the leaf on each side: distance is how far the expected run has got
    from its start, scale its largest value in the whole run, and t counts the updates. The first
    line sees a fault that adds up, such as a learning rate off by 1e-4, however small each update
    is, once the run has gone far enough (`Report.resolution`); the second sees a fault at the
    update at which it happens, late in a run too.

    fraction: None is 1e-10 in float64, 4e-5 in float32, 0.02 in float16, 0.1 in bfloat16.
    roundings: the 32 of both lines. Integers and booleans are compared exactly.
    """

    fraction: float | None = None
    roundings: float = _ROUNDINGS
    tenfold_time: ClassVar[float | None] = None  # nothing is known of the reference's rounding

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 <= self.fraction < 1:
            raise ValueError(
                "tolerance is a fraction of the distance travelled, in [0, 1); "
                f"got {self.fraction}. Use None for the dtype's own."
            )

    def of(self, dtype: np.dtype) -> float | None:
        """The fraction that is allowed in that dtype; None for whole numbers."""
        if dtype.kind in "biu":
            return None
        return _FRACTION.get(dtype.name) if self.fraction is None else self.fraction

    def allowed(self, path: str, dtype: np.dtype, deviation: Deviation) -> Allowed:  # noqa: ARG002
        """What the leaf at `path` may stray from the expected run."""
        fraction = self.of(dtype)
        if fraction is None:
            return Allowed(*np.zeros((2, len(deviation.error))))
        return with_rounding(
            fraction * deviation.distance,
            fraction * deviation.step,
            self.roundings,
            dtype,
            deviation,
        )

    def describe(self, dtypes: list[str]) -> str:
        """The rule in words, for the dtypes that were compared."""
        floats = [dtype for dtype in dtypes if dtype in _FRACTION]
        if not floats:
            return "no difference, between whole numbers"
        fractions = {_FRACTION[d] if self.fraction is None else self.fraction for d in floats}
        shown = " or ".join(f"{fraction:g}" for fraction in sorted(fractions))
        return (
            f"{shown} of the distance travelled and of each update, "
            f"plus {self.roundings:g} roundings of the leaf's scale"
        )


def with_rounding(
    error: Series, step_error: Series, roundings: float, dtype: np.dtype, deviation: Deviation
) -> Allowed:
    """Adds the leaf's own rounding, which walks at random, to what else is allowed."""
    rounding = float(finfo(dtype).eps) * deviation.scale
    walked = np.sqrt(np.arange(len(error)))
    before = np.maximum.accumulate(np.concatenate([[0.0], deviation.error[:-1]]))
    return Allowed(
        error=error + (roundings + walked) * rounding,
        step_error=step_error + roundings * rounding + CARRIED * before,
    )
