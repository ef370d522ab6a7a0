"""Whether the noise scale predicts the critical batch size here."""

import math
from typing import NamedTuple

from jaxgd.study.estimates import Estimate


class Prediction(NamedTuple):
    """Whether it does, None where the runs cannot tell; by what factor the measured size is larger.

    `told` is both in a sentence.
    """

    holds: bool | None
    factor: float
    told: str


def prediction(critical: Estimate, at_start: float, at_end: float) -> Prediction:
    """The noise scales where runs branched and where they arrived, against their critical size.

        factor = critical / √(at_start · at_end)

    They predict it where the factor is between 1/2 and 2: batch sizes are chosen no finer. They do
    not where no size of the measured interval is so near; between the two the runs cannot tell, nor
    where a noise scale or a measured size is infinite or zero. The sentence says how far the noise
    scale itself moved meanwhile, beyond a factor of 10.
    """
    scales = float(at_start), float(at_end)
    middle = math.sqrt(scales[0] * scales[1])
    measured = f"{critical.value:.3g} ({critical.low:.3g} to {critical.high:.3g})"
    told = (
        f"critical batch size {measured} by training; noise scale {scales[0]:.3g} where the runs "
        f"branch, {scales[1]:.3g} where they arrive, {middle:.3g} between: "
    )
    if not (0 < middle < math.inf and 0 < float(critical.value) < math.inf):
        return Prediction(None, math.nan, f"{told}nothing can be said of it.")
    factor = float(critical.value) / middle
    moved = max(scales) / min(scales)
    change = f", though it moved {moved:.2g}-fold on the way" if moved > 10 else ""
    near = float(critical.low) <= 2 * middle and float(critical.high) >= middle / 2
    holds = True if 0.5 <= factor <= 2 else (None if near else False)
    apart = f"{max(factor, 1 / factor):.2g} times too {'small' if factor > 1 else 'large'}"
    verdict = {
        True: "it predicts it here within a factor of 2",
        None: f"the runs cannot tell whether it predicts it, {apart} in the middle",
        False: f"it does not predict it here, {apart}",
    }[holds]
    return Prediction(holds, factor, f"{told}{verdict}{change}.")
