"""Schedules made of schedules, with the meaning torch's recursive schedulers give them."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.schedule import OfCount, Real, Schedule, tabulated


def sequential_lr(schedulers: Sequence[Callable], milestones: Sequence[int]) -> OfCount:
    """One schedule after another, each starting its own count at its milestone.

        schedulers[i](c − milestones[i−1])   for milestones[i−1] ≤ c < milestones[i]

    A `multiplicative_lr` has no value of its own to start from: it takes the rate it finds, times
    λ(0).

    Departs from torch.optim.lr_scheduler.SequentialLR: takes no compositions, `one_cycle_lr` or
    `cyclic_lr` (`optax.join_schedules` does).
    """
    schedules = _checked(schedulers)
    if len(milestones) != len(schedulers) - 1:
        raise ValueError(
            "milestones must be one fewer than schedulers; "
            f"got {len(milestones)} milestones for {len(schedulers)} schedulers. "
            "Give the count at which each schedule after the first begins."
        )
    if any(late < early for early, late in zip([0, *milestones], milestones, strict=False)):
        raise ValueError(
            f"milestones must be non-negative and rise; got {list(milestones)}. Sort them."
        )

    def rate_at(count: Scalar) -> Real:
        c = widest(count)
        rate = schedules[0](c)
        for i, (start, schedule) in enumerate(zip(milestones, schedules[1:], strict=True)):
            own_count = jnp.maximum(c - start, 0)
            if schedule.resumes is not None and start > 0:
                found = sequential_lr(schedules[: i + 1], milestones[:i])(start - 1)
                begun = schedule.resumes(found, own_count)
            else:
                begun = schedule(own_count)
            rate = jnp.where(c < start, rate, begun)
        return rate

    return rate_at


def chained_scheduler(schedulers: Sequence[Callable], *, total_steps: int) -> OfCount:
    """Schedules that all move one learning rate, in turn, at every update.

    Each rescales the rate r it finds by its own closed form f, about its floor a:

        r ← a + (r − a) · (f(c) − a) / (f(c−1) − a),   or r + f(c) − a where f(c−1) = a

    which is torch's recursion. `lambda_lr` and `cosine_annealing_warm_restarts` overwrite r.

    Departs from torch.optim.lr_scheduler.ChainedScheduler: such a chain has no closed form, so it
    is run once for `total_steps` updates, and later counts give NaN; takes no compositions,
    `one_cycle_lr` or `cyclic_lr`.
    """
    schedules = _checked(schedulers)
    remedy = "Use the number of updates of the run."
    check("total_steps", total_steps, "at least 1", lambda value: value >= 1, remedy)
    if any(isinstance(schedule.lr, jax.core.Tracer) for schedule in schedules):
        raise TypeError(
            "lr must be a number, as the chain is run when it is made; got a traced lr. "
            "Make the chain outside jit and vmap, or of lr=1.0 and multiply its rate."
        )
    alone = [_own_rates(schedule, total_steps) for schedule in schedules]
    rates = np.empty(total_steps)
    rate = base = float(schedules[0].lr)
    for count in range(total_steps):
        for schedule, values in zip(schedules, alone, strict=True):
            before = values[count - 1] if count else base
            rate = _rescale(rate, schedule.floor, before, values[count])
        rates[count] = rate
    table = tabulated(rates)
    return lambda count: table(widest(count))


def _rescale(rate: float, floor: float | None, before: float, now: float) -> float:
    """The rate after a schedule whose own value goes from `before` to `now`."""
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

    A traced rate has no value to compare yet.
    """
    singles = [schedule for schedule in schedulers if isinstance(schedule, Schedule)]
    if not singles or len(singles) < len(schedulers):
        raise TypeError(
            "schedulers must be one or more single schedules with an lr of their own; got "
            f"{[type(schedule).__name__ for schedule in schedulers]}. "
            "Use optax.join_schedules for a sequence of others."
        )
    known = [s.lr for s in singles if not isinstance(s.lr, jax.core.Tracer)]
    if any(lr != known[0] for lr in known):
        raise ValueError(
            "schedulers must share one lr, as they share torch's optimizer; "
            f"got {[schedule.lr for schedule in singles]}. Give all of them the same lr."
        )
    return singles
