"""Whether the noise scale predicts the critical batch size here."""

import math
from typing import NamedTuple

from jaxgd.study.estimates import Estimate


class Prediction(NamedTuple):
    """Whether it does, by what factor the measured size is larger, and both in a sentence."""

    holds: bool
    factor: float
    told: str


def prediction(critical: Estimate, at_start: float, at_end: float) -> Prediction:
    """The noise scales where runs branched and where they arrived, against their critical size.

        factor = critical / √(at_start · at_end)

    They predict it where the factor is between 1/2 and 2: batch sizes are chosen no finer. The
    sentence says how far the noise scale itself moved meanwhile, beyond a factor of 10.
    """
    scales = [min(max(float(scale), 1e-30), 1e30) for scale in (at_start, at_end)]
    middle, moved = math.sqrt(scales[0] * scales[1]), max(scales) / min(scales)
    factor = float(critical.value) / middle
    holds = 0.5 <= factor <= 2
    measured = f"{critical.value:.3g} ({critical.low:.3g} to {critical.high:.3g})"
    side = "small" if factor > 1 else "large"
    size = f"{max(factor, 1 / max(factor, 1e-30)):.2g} times too {side}"
    yes, no = "it predicts it here within a factor of 2", f"it does not predict it here, {size}"
    change = f", though it moved {moved:.2g}-fold on the way" if moved > 10 else ""
    told = (
        f"critical batch size {measured} by training; noise scale {scales[0]:.3g} where the runs "
        f"branch, {scales[1]:.3g} where they arrive, {middle:.3g} between: "
    )
    return Prediction(holds, factor, f"{told}{yes if holds else no}{change}.")
