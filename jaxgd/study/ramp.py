"""A learning-rate range test: one run whose rate grows at every update, and what it suggests."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Beyond so many times the lowest loss so far the run is lost, though its numbers are finite.
_LOST = 4.0


class Ramp(NamedTuple):
    """A run whose rate grew geometrically: each update's rate, its loss, and that loss smoothed.

    Cut before the first loss that is not finite, or that is far above the lowest. `suggestion` is
    where the smoothed loss falls fastest; None where it never falls.
    """

    rates: Float[np.ndarray, "t"]
    losses: Float[np.ndarray, "t"]
    smoothed: Float[np.ndarray, "t"]
    suggestion: float | None


def read_ramp(rates: np.ndarray, losses: np.ndarray, smoothing: float) -> Ramp:
    """What a ramp's losses tell, of which any may be NaN or infinite."""
    rates, losses = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    finite = np.isfinite(losses)
    kept = len(losses) if finite.all() else int(np.argmin(finite))
    smooth = smoothed(losses[:kept], smoothing)
    lowest = np.minimum.accumulate(smooth)
    start = np.abs(losses[:1]).max(initial=0.0)
    lost = smooth - lowest > (_LOST - 1) * np.maximum(np.abs(lowest), start)
    kept = int(np.argmax(lost)) if lost.any() else kept
    rates, losses, smooth = rates[:kept], losses[:kept], smooth[:kept]
    return Ramp(rates, losses, smooth, steepest(rates, smooth, round(1 / (1 - smoothing))))


def smoothed(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """The exponential average of each loss and those before it, its weights adding up to 1.

        s_t = Σ_i β^(t-i) loss_i / Σ_i β^(t-i)

    The average itself begins at 0 and would rise to the losses from below; divided by the weight
    1 - β^(t+1) that it has gathered it begins at the first loss.
    """
    average, smooth = 0.0, np.empty(len(losses))
    for t, loss in enumerate(losses):
        average = smoothing * average + (1 - smoothing) * loss
        smooth[t] = average / (1 - smoothing ** (t + 1))
    return smooth


def steepest(rates: np.ndarray, smooth: np.ndarray, window: int) -> float | None:
    """The rate where the smoothed loss falls fastest by the *logarithm* of the rate.

    By the rate itself every slope at a small rate would be steep, however little is gained there.
    Slopes are those of `window` updates, before the lowest loss: from one update to the next a
    smoothed loss moves as its last batch has it. None where it never falls.
    """
    end = int(np.argmin(smooth)) + 1 if len(smooth) else 0
    if end < 2:
        return None
    window = min(window, end - 1)
    first, last = np.log(rates[: end - window]), np.log(rates[window:end])
    slopes = (smooth[window:end] - smooth[: end - window]) / (last - first)
    i = int(np.argmin(slopes))
    return float(np.exp((first[i] + last[i]) / 2)) if slopes[i] < 0 else None
