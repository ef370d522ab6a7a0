"""The position of a learning-rate scheduler handed over: a count, and a plateau's few numbers.

A schedule of ours is a function of the count, so that from torch nothing but `scheduler.last_epoch`
is needed: `from_torch(torch_optimizer, params, lr=schedule, step=scheduler.last_epoch)`.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxgd.interop.torch.tensors import number
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules import PlateauState


def plateau_from_torch(scheduler: Any, lr: float) -> PlateauState:
    """The state of `reduce_lr_on_plateau` that goes on from torch's ReduceLROnPlateau.

    `scheduler` is the live one or its state_dict(), `lr` the rate in use: of the optimizer's group.

        state.hyperparams_states["lr"] = plateau_from_torch(scheduler, lr)

    in the state of the `optax.inject_hyperparams` that holds the schedule.

    Raises ValueError for another scheduler.
    """
    given = scheduler.state_dict() if hasattr(scheduler, "state_dict") else scheduler
    missing = {"best", "num_bad_epochs", "cooldown_counter"} - set(given)
    if missing:
        raise ValueError(
            f"scheduler must be a ReduceLROnPlateau; got one without {sorted(missing)}. "
            "Of the others give from_torch their last_epoch as step."
        )
    return PlateauState(
        lr=widest(lr),
        best=widest(number(given["best"])),
        num_bad_epochs=jnp.asarray(given["num_bad_epochs"], int),
        cooldown_counter=jnp.asarray(given["cooldown_counter"], int),
        last_epoch=jnp.asarray(given.get("last_epoch", 0), int),
    )


def to_torch_scheduler_state_dict(
    scheduler: Any, position: Callable[[Any], Any] | PlateauState, count: int
) -> dict[str, Any]:
    """The state_dict of a torch scheduler that goes on after `count` updates of ours.

        scheduler.load_state_dict(to_torch_scheduler_state_dict(scheduler, schedule, count))

    `scheduler` is the one to be loaded, made as for a training from its start; `position` is the
    schedule that moved the rate, or a plateau's state. Nested schedulers are moved with it. The
    rate itself is the optimizer's: `to_torch_state_dict(…, lr=schedule)`.

    Raises ValueError for a negative count.

    Departs from torch: nothing.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0; got {count}. Use the number of updates done.")
    given = scheduler.state_dict()
    if isinstance(position, PlateauState):
        counters = {name: int(getattr(position, name)) for name in _COUNTERS}
        rates = {"_last_lr": [float(position.lr)] * len(given.get("_last_lr", [0]))}
        return given | counters | rates | {"best": float(position.best), "last_epoch": count}
    return _moved(given, count, float(position(np.int32(count))))


_COUNTERS = ("num_bad_epochs", "cooldown_counter")


def _moved(given: Mapping[str, Any], count: int, rate: float) -> dict[str, Any]:
    """A state_dict at another count, and those it holds at their own counts."""
    moved = dict(given)
    if "last_epoch" in given:
        moved |= {"last_epoch": count}
    if "_step_count" in given:
        moved |= {"_step_count": count + 1}
    moved["_last_lr"] = [rate] * len(given["_last_lr"])
    if "T_cur" in given:
        moved |= _since_restart(given, count)
    if "_schedulers" in given:
        milestones = given.get("_milestones", [])
        together = "_milestones" not in given
        starts = [0] * len(given["_schedulers"]) if together else [0, *milestones]
        ends = [inf] * len(starts) if together else [*milestones, inf]
        moved["_schedulers"] = [
            _moved(child, int(min(count, end - 1)) - start, rate) if count >= start else dict(child)
            for child, start, end in zip(given["_schedulers"], starts, ends, strict=True)
        ]
    return moved


def _since_restart(given: Mapping[str, Any], count: int) -> dict[str, int]:
    """CosineAnnealingWarmRestarts's place in its period, and the period's length."""
    period, since = given["T_0"], count
    while since >= period:
        since -= period
        period *= given["T_mult"]
    return {"T_cur": since, "T_i": period}
