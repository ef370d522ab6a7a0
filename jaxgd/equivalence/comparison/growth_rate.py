"""Whether a difference between two runs grows exponentially, as rounding does in a chaotic run."""

import numpy as np
from jaxtyping import Float

# An error that adds up grows like t or t**2: three decades within a thousand or thirty updates.
# Exponential growth is told from it by the better fit, over at least so many decades and updates.
_DECADES = 3.0
_UPDATES = 8

# At this fraction of the leaf's scale a difference has nowhere left to grow.
SATURATED = 0.03


def tenfold_time(error: Float[np.ndarray, " updates"]) -> float | None:
    """The updates in which a relative error grows tenfold; None unless it grows exponentially.

        log10 error(t) = a + t / growth,   fitted better than log10 error(t) = a + b log t

    error: at update t, as a fraction of the scale; its running maximum is fitted, from the first
    update at which it is positive to the one at which it saturates.
    """
    envelope = np.maximum.accumulate(error[1:])
    rising = np.flatnonzero((envelope > 0) & (envelope < SATURATED))
    if len(rising) < _UPDATES:
        return None
    updates, decades = rising + 1.0, np.log10(envelope[rising])
    if decades[-1] - decades[0] < _DECADES:
        return None
    exponential, misfit = _line(updates, decades)
    _, misfit_of_power = _line(np.log10(updates), decades)
    return 1.0 / exponential if misfit < misfit_of_power else None


def _line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Slope and squared misfit of the least-squares line."""
    coefficients, (misfit,), *_ = np.polyfit(x, y, 1, full=True)
    return float(coefficients[0]), float(misfit)
