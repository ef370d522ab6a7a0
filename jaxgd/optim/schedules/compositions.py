"""Schedules made of schedules, with the meaning torch's recursive schedulers give them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.cycles import Cycle
from jaxgd.optim.schedules.schedule import (
    OfCount,
    Real,
    Schedule,
    check_same_lr,
    rescaled,
    shown,
    tabulated,
)


@dataclass(frozen=True, repr=False)
class Composition:
    """A rate made of others, as a pure function of the count, with the momentum of its cycle."""

    rate: OfCount
    momentum: OfCount | None
    call: str = "Composition(…)"
    traced: bool = False

    def __repr__(self) -> str:
        """The call that makes it, with those that make its parts."""
        return self.call

    def __call__(self, count: Scalar) -> Real:
        """The learning rate of update `count` (0-based), in the widest enabled float."""
        return self.rate(count)


@shown
def sequential_lr(schedulers: Sequence[Callable], milestones: Sequence[Scalar]) -> Composition:
    """One schedule after another, each starting its own count at its milestone.

        schedulers[i](c − milestones[i−1])   for milestones[i−1] ≤ c < milestones[i]

    A `multiplicative_lr` has no value of its own to start from: it takes the rate it finds, times
    λ(0). The momentum of a cycle waits at its first value, and stays at its last. OneCycleLR sets
    the initial rate of torch's optimizer, max_lr / div_factor: that is then the lr of all others.

    Departs from torch.optim.lr_scheduler.SequentialLR: compositions are refused. torch raises at
    the milestone of one that does not come first; one that does is stepped once too often when it
    is made. Refused is a second cycle of momentum too.
    """
    schedules = _checked(schedulers)
    if len(milestones) != len(schedulers) - 1:
        raise ValueError(
            "milestones must be one fewer than schedulers; "
            f"got {len(milestones)} milestones for {len(schedulers)} schedulers. "
            "Give the count at which each schedule after the first begins."
        )
    known = [m for m in milestones if not isinstance(m, jax.core.Tracer)]
    if any(late < early for early, late in zip([0, *known], known, strict=False)):
        raise ValueError(
            f"milestones must be non-negative and rise; got {list(milestones)}. Sort them."
        )
    return Composition(
        _sequence(schedules, milestones), _momentum(schedulers, [*milestones, np.inf])
    )


def _sequence(schedules: Sequence[Schedule], starts: Sequence[Scalar]) -> OfCount:
    """The rate of schedules that begin at these counts, but for the first."""

    def rate_at(count: Scalar) -> Real:
        c = widest(count)
        rate = schedules[0](c)
        for i, (start, schedule) in enumerate(zip(starts, schedules[1:], strict=True)):
            first = widest(start)
            own_count = jnp.maximum(c - first, 0)
            begun = schedule(own_count)
            if schedule.resumes is not None:
                found = _sequence(schedules[: i + 1], starts[:i])(jnp.maximum(first - 1, 0))
                begun = jnp.where(first > 0, schedule.resumes(found, own_count), begun)
            rate = jnp.where(c < first, rate, begun)
        return rate

    return rate_at


def _momentum(
    schedulers: Sequence[Callable], ends: Sequence[Scalar], begin: Scalar | None = None
) -> OfCount | None:
    """The momentum of the one schedule that cycles it; each begins at the last's end."""
    cycled = [i for i, each in enumerate(schedulers) if getattr(each, "momentum", None) is not None]
    if not cycled:
        return None
    if len(cycled) > 1:
        raise ValueError(
            f"schedulers must not cycle momentum more than once; got {len(cycled)} that do. "
            "Use cycle_momentum=False in all but one."
        )
    (i,) = cycled
    cycle: Callable = getattr(schedulers[i], "momentum")  # noqa: B009 (not of every schedule)
    start = (0 if i == 0 else ends[i - 1]) if begin is None else begin

    def momentum(count: Scalar) -> Real:
        first = widest(start)
        last = jnp.maximum(widest(ends[i]) - 1, first)
        return cycle(jnp.clip(widest(count), first, last) - first)

    return momentum


@shown
def chained_scheduler(schedulers: Sequence[Callable], *, total_steps: int) -> Composition:
    """Schedules that all move one learning rate, in turn, at every update.

    Each rescales the rate r it finds by its own closed form f, about its floor a:

        r ← a + (r − a) · (f(c) − a) / (f(c−1) − a),   or r + f(c) − a where f(c−1) = a

    which is torch's recursion. `lambda_lr`, `cosine_annealing_warm_restarts` and the cycles
    overwrite r.

    Departs from torch.optim.lr_scheduler.ChainedScheduler: such a chain has no closed form, so it
    is run for `total_steps` updates, in doubles and once if its options are numbers, and where they
    are traced in the widest enabled float; later counts give NaN. Compositions are refused.
    """
    schedules = _checked(schedulers)
    remedy = "Use the number of updates of the run."
    check("total_steps", total_steps, "at least 1", lambda value: value >= 1, remedy)
    momentum = _momentum(schedulers, [np.inf] * len(schedulers), 0)
    if any(schedule.traced for schedule in schedules):
        return Composition(_traced_chain(schedules, total_steps), momentum)
    alone = [_own_rates(schedule, total_steps) for schedule in schedules]
    rates = np.empty(total_steps)
    rate = base = float(schedules[0].lr)
    for count in range(total_steps):
        for schedule, values in zip(schedules, alone, strict=True):
            before = values[count - 1] if count else base
            rate = _in_doubles(rate, schedule.floor, before, values[count])
        rates[count] = rate
    table = tabulated(rates)
    return Composition(lambda count: table(widest(count)), momentum)


def _traced_chain(schedules: Sequence[Schedule], total_steps: int) -> OfCount:
    """The rates of a chain whose options have no value yet, run where they have one."""

    def turn(rate: Real, alone: list[tuple[Real, Real]]) -> tuple[Real, Real]:
        for schedule, (before, now) in zip(schedules, alone, strict=True):
            rate = rescaled(rate, schedule.floor, before, now)
        return rate, rate

    def rate_at(count: Scalar) -> Real:
        base = widest(schedules[0].lr)
        now = [jax.vmap(each)(jnp.arange(total_steps)) for each in schedules]
        alone = [(jnp.concatenate([base[None], rates[:-1]]), rates) for rates in now]
        rates = jax.lax.scan(turn, base, alone)[1]
        return rates.at[widest(count).astype(int)].get(mode="fill", fill_value=jnp.nan)

    return rate_at


def _in_doubles(rate: float, floor: Any, before: float, now: float) -> float:
    """What `rescaled` says, of Python's numbers."""
    if floor is None:
        return now
    if before == floor:
        return rate + now - floor
    return floor + (rate - floor) * ((now - floor) / (before - floor))


def _own_rates(schedule: Schedule, total_steps: int) -> Float[np.ndarray, " total_steps"]:
    """What a schedule alone would do, in float64 whatever JAX's mode."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.asarray(jax.vmap(schedule)(jnp.arange(total_steps, dtype=float)))


def _checked(schedulers: Sequence[Callable]) -> list[Schedule]:
    """The schedules, if each is a single one and all share a learning rate, as in torch.

    A cycle brings rates of its own, and OneCycleLR an initial one for all. A traced rate has no
    value to compare yet.
    """
    allowed = [each for each in schedulers if isinstance(each, (Schedule, Cycle))]
    if not allowed or len(allowed) < len(schedulers):
        raise TypeError(
            "schedulers must be one or more single schedules or cycles; got "
            f"{[type(schedule).__name__ for schedule in schedulers]}. "
            "Use optax.join_schedules for a sequence of others."
        )
    known = [each.initial_lr for each in allowed if isinstance(each, Cycle)]
    rates = [each.lr for each in allowed if isinstance(each, Schedule)]
    check_same_lr([lr for lr in [*known, *rates] if lr is not None])
    return [
        Schedule(
            each(0) if each.initial_lr is None else each.initial_lr,
            each.lr,
            floor=None,
            traced=each.traced,
        )
        if isinstance(each, Cycle)
        else each
        for each in allowed
    ]
