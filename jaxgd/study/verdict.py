"""Whether the noise scale predicts the critical batch size here."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxgd.study.estimates import Estimate


class Prediction(NamedTuple):
    """Whether it does, by what factor the measured size is larger, and both in a sentence."""

    holds: bool
    factor: float
    told: str


def prediction(critical: Estimate, noise_scales: Sequence[Estimate | float]) -> Prediction:
    """The noise scales along the runs, held against the critical batch size that the runs had.

    They predict it where the interval of the measured size meets the range that the noise scales
    (with their intervals, if they have any) span from where the runs branched to where they ended.
    The factor is the measured size over the geometric mean of the scales.
    """
    scales = [s if isinstance(s, Estimate) else Estimate(s, s, s) for s in noise_scales]
    low = min(float(s.low) for s in scales)
    high = max(float(s.high) for s in scales)
    logs = [math.log(max(float(s.value), 1e-300)) for s in scales]
    factor = float(critical.value) / math.exp(min(sum(logs) / len(logs), 700.0))
    holds = float(critical.low) <= high and low <= float(critical.high)
    measured = f"{critical.value:.3g} ({critical.low:.3g} to {critical.high:.3g})"
    span = " to ".join(f"{float(s.value):.3g}" for s in scales)
    if holds:
        end = "the noise scale predicts it here"
    else:
        size = f"{max(factor, 1 / factor):.2g} times too {'small' if factor > 1 else 'large'}"
        end = f"the noise scale does not predict it here: it is {size}"
    return Prediction(
        holds,
        factor,
        f"critical batch size {measured} by training, noise scale {span} along the way: {end}.",
    )
