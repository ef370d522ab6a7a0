"""The rate that clean runs end lowest with, once a bracket of them has it in its middle."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Rates of a bracket, each twice the one before, and how many brackets may be laid side by side.
_SIZE, _FACTOR, _BRACKETS = 9, 2.0, 6
# Two losses in float32 over many rows are the same to about this part of themselves.
_ROUNDING = 1e-5

EndLosses = Callable[[np.ndarray], np.ndarray]


class Bracket(NamedTuple):
    """Clean runs: their rates in rising order, and the losses they ended with, infinite if lost.

    `best` is the chosen rate's place among them, None where no run ended below the start;
    `confirmed` tells whether rates on both sides of it were tried.
    """

    rates: Float[np.ndarray, "rates"]
    losses: Float[np.ndarray, "rates orders"]
    best: int | None
    confirmed: bool


def bracketed(end_losses: EndLosses, centre: float, start_loss: float) -> Bracket:
    """The bracket around a centre, with more beside it until the best rate is no edge's.

    `end_losses(rates [9])` is [9, orders]. Of the rates whose loss is, by order, within one
    standard error of the lowest, the smallest is the best (the one-standard-error rule).
    """
    tried: dict[int, np.ndarray] = {}
    powers = np.arange(_SIZE) - _SIZE // 2
    found = Bracket(np.empty(0), np.empty((0, 1)), None, False)
    for _ in range(_BRACKETS):
        rates = centre * _FACTOR**powers
        tried |= dict(zip(powers.tolist(), end_losses(rates), strict=True))
        found = _read(tried, centre, start_loss)
        if found.confirmed:
            break
        up = _goes_up(found, start_loss)
        powers = max(tried) + 1 + np.arange(_SIZE) if up else min(tried) - _SIZE + np.arange(_SIZE)
    return found


def _read(tried: dict[int, np.ndarray], centre: float, start_loss: float) -> Bracket:
    powers = sorted(tried)
    losses = np.array([tried[power] for power in powers], np.float64)
    rates = centre * _FACTOR ** np.array(powers)
    means = losses.mean(axis=1)
    lowest = int(np.argmin(means))
    if not means[lowest] < start_loss - _ROUNDING * abs(start_loss):
        return Bracket(rates, losses, None, False)
    best = min(i for i in range(lowest + 1) if _as_low(losses[i], losses[lowest]))
    return Bracket(rates, losses, best, best > 0 and lowest < len(rates) - 1)


def _as_low(losses: np.ndarray, lowest: np.ndarray) -> bool:
    """Whether losses are, order by order, within one standard error of the lowest."""
    if not np.isfinite(losses).all():
        return False
    excess = losses - lowest
    error = excess.std(ddof=1) / len(excess) ** 0.5 if len(excess) > 1 else 0.0
    return bool(excess.mean() <= error)


def _goes_up(found: Bracket, start_loss: float) -> bool:
    """Whether larger rates are to be tried next, and not smaller ones."""
    means = found.losses.mean(axis=1)
    if found.best is None:  # too small to be felt, or too large
        return bool(means[-1] <= start_loss + _ROUNDING * abs(start_loss))
    return found.best > 0
