"""Schedules that cycle the learning rate up and down, and momentum down and up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import power, widest
from jaxgd.optim.schedules.schedule import OfCount, Real, shown


@dataclass(frozen=True, repr=False)
class Cycle:
    """A learning rate as a pure function of the count, with the momentum that goes with it.

    `cycle.momentum`, a schedule too, is for SGD's `momentum` or Adam's first beta; None when
    `cycle_momentum=False`.
    """

    lr: OfCount
    momentum: OfCount | None
    initial_lr: Scalar | None = None  # that OneCycleLR gives torch's optimizer
    call: str = "Cycle(…)"
    traced: bool = False

    def __repr__(self) -> str:
        """The call that makes it."""
        return self.call

    def __call__(self, count: Scalar) -> Real:
        """The learning rate of update `count` (0-based), in the widest enabled float."""
        return self.lr(count)


@shown
def cyclic_lr(
    base_lr: Scalar,
    max_lr: Scalar,
    step_size_up: Scalar = 2000,
    step_size_down: Scalar | None = None,
    mode: str = "triangular",
    gamma: Scalar = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: str = "cycle",
    cycle_momentum: bool = True,
    base_momentum: Scalar = 0.8,
    max_momentum: Scalar = 0.9,
) -> Cycle:
    """A triangle wave between `base_lr` and `max_lr`, its height scaled by `mode`.

        base_lr + (max_lr − base_lr) · h(c) · s,   momentum: max − (max − base) · h(c) · s

    h rises from 0 to 1 in `step_size_up` updates and falls in `step_size_down`. With k the number
    of the cycle, from 1, the scale s is 1 (triangular), 2^(1−k) (triangular2), gamma^c
    (exp_range), or `scale_fn` of k or c by `scale_mode`; `scale_fn` is traced and overrules `mode`.

    Source: Cyclical learning rates (Smith, 2017).
    Departs from torch.optim.lr_scheduler.CyclicLR: `scale_fn` is traced.
    """
    rising = step_size_up
    falling = rising if step_size_down is None else step_size_down
    remedy = "Use the number of updates of each half of a cycle."
    check("step_size_up", rising, "positive", lambda v: v > 0, remedy)
    check("step_size_down", falling, "at least 0", lambda v: v >= 0, remedy)
    if scale_fn is None:
        scale_fn, scale_mode = _named_scale(mode, gamma)

    def height(c: Real) -> Real:
        up, down = widest(rising), widest(falling)
        position = jnp.mod(c, up + down)
        fall = (up + down - position) / jnp.maximum(down, 1)  # of none, it is never looked at
        rise_and_fall = jnp.where(position <= up, position / up, fall)
        cycle = 1 + c // (up + down)
        return rise_and_fall * scale_fn(cycle if scale_mode == "cycle" else c)

    def lr(c: Scalar) -> Real:
        return widest(base_lr) + (widest(max_lr) - widest(base_lr)) * height(widest(c))

    def momentum(c: Scalar) -> Real:
        high, low = widest(max_momentum), widest(base_momentum)
        return high - (high - low) * height(widest(c))

    return Cycle(lr, momentum if cycle_momentum else None)


@shown
def one_cycle_lr(
    max_lr: Scalar,
    total_steps: Scalar | None = None,
    epochs: Scalar | None = None,
    steps_per_epoch: Scalar | None = None,
    pct_start: Scalar = 0.3,
    anneal_strategy: str = "cos",
    cycle_momentum: bool = True,
    base_momentum: Scalar = 0.85,
    max_momentum: Scalar = 0.95,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
    three_phase: bool = False,
) -> Cycle:
    """One rise to `max_lr` and one fall far below its start, momentum the other way round.

        start = max_lr / div_factor → max_lr → end = start / final_div_factor,

    the rise ending at count pct_start · total_steps − 1. With `three_phase` the fall stops at
    `start` at count 2 · pct_start · total_steps − 2 and ends in a third phase. Each phase anneals
    by a half cosine or a straight line. Counts past `total_steps`, which torch refuses, give NaN.

    Source: Super-convergence (Smith & Topin, 2018).
    Departs from torch.optim.lr_scheduler.OneCycleLR: NaN instead of an error past the end.
    """
    total = _total_steps(total_steps, epochs, steps_per_epoch)
    remedy = "Use the share of updates that raise the rate."
    check("pct_start", pct_start, "in [0, 1]", lambda value: 0 <= value <= 1, remedy)
    rise_ends = pct_start * total
    if not isinstance(rise_ends, jax.core.Tracer) and rise_ends == 1:
        raise ValueError(
            f"pct_start * total_steps must not be 1: a rise of no updates has no slope; "
            f"got {pct_start} * {total}. Use pct_start=0 to start from the peak."
        )
    if anneal_strategy not in ("cos", "linear"):
        raise ValueError(
            f"anneal_strategy must be 'cos' or 'linear'; got {anneal_strategy!r}. "
            "Use 'cos', the default."
        )
    rise = rise_ends - 1.0
    ends = [rise, 2 * rise_ends - 2.0, total - 1.0] if three_phase else [rise, total - 1.0]

    def through(levels: list[Scalar]) -> OfCount:
        """The levels, annealed from one to the next between the ends of the phases."""

        def value(count: Scalar) -> Real:
            c = widest(count)
            phases = zip([0.0, *ends[:-1]], ends, levels[:-1], levels[1:], strict=True)
            values = [_anneal(anneal_strategy, c, *phase) for phase in phases]
            now = values[-1]
            for end, earlier in reversed(list(zip(ends[:-1], values[:-1], strict=True))):
                now = jnp.where(c <= end, earlier, now)
            return jnp.where(c <= total, now, jnp.nan)

        return value

    start = max_lr / div_factor
    end = start / final_div_factor
    low, high = base_momentum, max_momentum
    lr = through([start, max_lr, start, end] if three_phase else [start, max_lr, end])
    momentum = through([high, low, high, high] if three_phase else [high, low, high])
    return Cycle(lr, momentum if cycle_momentum else None, start)


def _anneal(
    strategy: str, c: Real, begin: Scalar, end: Scalar, first: Scalar, last: Scalar
) -> Real:
    """From `first` at count `begin` to `last` at count `end`, by a half cosine or a line.

    At the end of a line stands what torch's doubles make of it, `(last - first) + first`: a last
    rate far below the first is lost there in part, and in float32 would be altogether.
    """
    share = (c - begin) / (end - begin)
    if strategy == "cos":
        return widest(last) + widest((first - last) / 2.0) * (jnp.cos(jnp.pi * share) + 1)
    line = widest(first) * (1 - share) + widest(last) * share
    return jnp.where(c == end, widest((last - first) * 1.0 + first), line)


def _named_scale(mode: str, gamma: Scalar) -> tuple[Callable[[Any], Any], str]:
    """The scale function of a named mode, and whether it counts cycles or updates."""
    scales: dict[str, tuple[Callable[[Any], Any], str]] = {
        "triangular": (jnp.ones_like, "cycle"),
        "triangular2": (lambda k: 0.5 ** (k - 1), "cycle"),
        "exp_range": (lambda c: power(gamma, c), "iterations"),
    }
    if mode not in scales:
        raise ValueError(
            f"mode must be one of {', '.join(scales)}; got {mode!r}. Or give scale_fn."
        )
    return scales[mode]


def _total_steps(
    total_steps: Scalar | None, epochs: Scalar | None, steps_per_epoch: Scalar | None
) -> Scalar:
    """The length of the cycle, given whole or as epochs of so many updates."""
    if total_steps is None and epochs is not None and steps_per_epoch is not None:
        total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, jax.core.Tracer) and min(epochs, steps_per_epoch) <= 0:
            total_steps = 0
    if total_steps is None:
        raise ValueError(
            "total_steps, or both epochs and steps_per_epoch, must be given; got "
            f"epochs={epochs}, steps_per_epoch={steps_per_epoch}. Use the length of the run."
        )
    if isinstance(total_steps, jax.core.Tracer):
        return widest(total_steps)
    if total_steps < 1:
        raise ValueError(
            f"total_steps, epochs and steps_per_epoch must be positive; got total_steps="
            f"{total_steps}, epochs={epochs}, steps_per_epoch={steps_per_epoch}. "
            "Use the length of the run."
        )
    return total_steps
