"""A tolerance measured from the problem: what the reference's own rounding does to its run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from ml_dtypes import finfo

from jaxgd.equivalence.comparison.deviations import Deviation, Series, deviation
from jaxgd.equivalence.comparison.growth_rate import SATURATED, tenfold_time
from jaxgd.equivalence.comparison.tolerance import Allowed, with_rounding
from jaxgd.equivalence.recordings.trajectory import read_trajectory

# Chosen on 180 trainings (torch against JAX, and JAX in another order of summation): honest pairs
# used up to 0.75 of what these two allow. Left out: optax.adam in float32 judged by torch.Adam's
# rounding, of which its bias correction is off by thousands; calibrate with the less exact side.
_MULTIPLE = 8.0
_ROUNDINGS = 8.0

# In a chaotic run the moment at which rounding turns towards the growing direction is luck: without
# these two, 12 of 288 honest pairs of chaotic maps went up to 8 times beyond what is allowed; with
# a decade of growth more, 5 of 1280, all in float64; with a quarter more in the rate too, none.
_LUCK = 10.0
_FASTER = 1.25


@dataclass(frozen=True)
class Calibration:
    """What rounding does to a run at every update, as a tolerance for `assert_equivalent`.

        |actual - expected| <= multiple * rounding + (8 + sqrt(t)) * eps * scale

    where rounding is how far the run in `dtype` has strayed from the run in float64 by update t,
    and likewise for the updates. Rounding is proportional to the machine epsilon, so that a run in
    float64 is judged by the same numbers, 5e8 times smaller; past the update at which a chaotic run
    has lost all digits of `dtype`, by the rate at which it lost them.
    """

    roundings: Mapping[str, Deviation]  # by path: the run in `dtype` against float64
    dtype: np.dtype
    tenfold_time: float | None  # the updates in which rounding grows tenfold, in a chaotic run
    multiple: float = _MULTIPLE

    def allowed(self, path: str, dtype: np.dtype, deviation: Deviation) -> Allowed:
        """What the leaf at `path` may stray from the expected run.

        ValueError when the calibrated run has no such leaf, or fewer updates.
        """
        updates = len(deviation.error)
        if path not in self.roundings or len(self.roundings[path].error) < updates:
            calibrated = {p: len(rounding.error) for p, rounding in self.roundings.items()}
            raise ValueError(
                "A calibration judges the run it was measured on; "
                f"'{path}' has {updates} entries here and the calibrated leaves have {calibrated}. "
                "Calibrate with a run that returns the same leaves and updates."
            )
        if dtype.kind in "biu":
            return Allowed(*np.zeros((2, updates)))
        rounding = self.roundings[path]
        finer = float(finfo(dtype).eps) / float(finfo(self.dtype).eps)
        error, step_error = (
            self.multiple * self._rescaled(worst, rounding.scale, finer)[:updates]
            for worst in (rounding.error, rounding.step_error)
        )
        return with_rounding(error, step_error, _ROUNDINGS, dtype, deviation)

    def describe(self, dtypes: list[str]) -> str:  # noqa: ARG002
        """The rule in words, for the dtypes that were compared."""
        return (
            f"{self.multiple:g} times what its own rounding does to the reference "
            f"({self.dtype} against float64), plus {_ROUNDINGS:.0f} roundings of the leaf's scale"
        )

    def _rescaled(self, rounding: Series, scale: float, finer: float) -> Series:
        """The worst rounding so far, in a dtype whose epsilon is `finer` times as large."""
        worst = np.maximum.accumulate(rounding)
        if self.tenfold_time is not None:
            worst = _LUCK * worst
        rescaled = worst * finer
        lost = np.flatnonzero(worst > SATURATED * scale)
        if finer < 1 and self.tenfold_time is not None and lost.size:
            past = np.arange(len(worst)) - lost[0]
            with np.errstate(over="ignore"):
                grown = rescaled[lost[0]] * 10.0 ** (_FASTER * past / self.tenfold_time)
            rescaled = np.where(past > 0, np.minimum(grown, worst), rescaled)
        return rescaled


def calibrate(
    run: Callable[[np.dtype], object], *, dtype: str = "float32", multiple: float | int = _MULTIPLE
) -> Calibration:
    """What its own rounding does to `run`, measured by running it in `dtype` and in float64.

    run: takes a NumPy dtype, trains in it from the same start on the same data in the same order,
        and returns the trajectory (see `compare`). In JAX: `with jax.enable_x64(True)`.
    multiple: how many times as far another implementation may stray as rounding alone does.

    ValueError or TypeError when the runs differ in more than their dtype.
    """
    if not multiple > 0:
        raise ValueError(
            f"multiple is positive; got {multiple}. Use 8, or more for runs that sum far apart."
        )
    coarse = read_trajectory(run(np.dtype(finfo(dtype).dtype)), f"run({dtype})")
    fine = read_trajectory(run(np.dtype(np.float64)), "run(float64)")
    if coarse.updates != fine.updates or coarse.leaves.keys() != fine.leaves.keys():
        raise ValueError(
            "run returns the same leaves and updates in every dtype; got "
            f"{sorted(coarse.leaves)} of {coarse.updates} entries in {dtype} and "
            f"{sorted(fine.leaves)} of {fine.updates} in float64. Fix the order and the start."
        )
    for path, column in fine.leaves.items():
        leaf = column.stacked()
        rounded = leaf.dtype != np.float64 and not (leaf == np.trunc(leaf)).all()
        if rounded or leaf.shape != coarse.leaves[path].shape:
            raise TypeError(
                f"run computes in the dtype it is given; '{path}' is {leaf.dtype}"
                f"{list(leaf.shape)} in run(float64). In JAX, run under jax.enable_x64(True)."
            )
    roundings = {path: deviation(coarse.leaves[path], fine.leaves[path]) for path in fine.leaves}
    relative = [r.error / r.scale for r in roundings.values() if r.scale > 0]
    rate = tenfold_time(np.max(relative, axis=0)) if relative else None
    return Calibration(roundings, np.dtype(finfo(dtype).dtype), rate, multiple)
