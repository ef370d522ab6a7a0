"""The one schedule that looks at a value instead of the count."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.schedule import Real


class PlateauState(NamedTuple):
    """The rate in use, the best value so far, and the counters of ReduceLROnPlateau."""

    lr: Real
    best: Real
    num_bad_epochs: Int[Array, ""]
    cooldown_counter: Int[Array, ""]


class PlateauSchedule(NamedTuple):
    """An optax.schedules.StatefulSchedule: `inject_hyperparams` keeps its state."""

    init: Callable[[], PlateauState]
    update: Callable[..., PlateauState]

    def __call__(self, state: PlateauState, **_: object) -> Real:
        """The learning rate of the next update."""
        return state.lr


def reduce_lr_on_plateau(
    lr: Scalar,
    mode: str = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0,
    eps: float = 1e-8,
) -> PlateauSchedule:
    """`lr`, times `factor` whenever the value has not improved for more than `patience` updates.

        improved: value < best · (1 − threshold)   (min, rel; max and abs accordingly)
        lr ← max(lr · factor, min_lr)              (unless that lowers it by eps or less)

    followed by `cooldown` updates in which nothing counts as bad. The value is an extra argument
    of the update, and changes the rate of the next one, as in torch's loop:

        optimizer = optax.inject_hyperparams(sgd)(lr=reduce_lr_on_plateau(0.1))
        updates, state = optimizer.update(gradients, state, params, value=loss)

    An update without `value` leaves the schedule as it is.

    Departs from torch.optim.lr_scheduler.ReduceLROnPlateau: nothing.
    """
    check("factor", factor, "below 1", lambda value: value < 1, "Use 0.1 to divide by ten.")
    for name, given, known in [
        ("mode", mode, ("min", "max")),
        ("threshold_mode", threshold_mode, ("rel", "abs")),
    ]:
        if given not in known:
            raise ValueError(
                f"{name} must be {known[0]!r} or {known[1]!r}; got {given!r}. "
                f"Use {known[0]!r}, the default."
            )
    sign = 1.0 if mode == "min" else -1.0

    def init() -> PlateauState:
        worst = widest(sign * math.inf)
        return PlateauState(widest(lr), worst, jnp.zeros((), int), jnp.zeros((), int))

    def bar(best: Real) -> Real:
        """What a value has to be better than."""
        return (
            best * (1.0 - sign * threshold) if threshold_mode == "rel" else best - sign * threshold
        )

    def update(state: PlateauState, *, value: Scalar | None = None, **_: object) -> PlateauState:
        if value is None:
            return state
        value = widest(value)
        improved = sign * value < sign * bar(state.best)
        cooling = state.cooldown_counter > 0
        bad = jnp.where(improved | cooling, 0, state.num_bad_epochs + 1)
        stuck = bad > patience
        lower = jnp.maximum(state.lr * factor, min_lr)
        return PlateauState(
            lr=jnp.where(stuck & (state.lr - lower > eps), lower, state.lr),
            best=jnp.where(improved, value, state.best),
            num_bad_epochs=jnp.where(stuck, 0, bad),
            cooldown_counter=jnp.where(
                stuck, cooldown, state.cooldown_counter - cooling.astype(int)
            ),
        )

    return PlateauSchedule(init, update)
