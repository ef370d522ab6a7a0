"""The one schedule that looks at a value instead of the count."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.schedule import Real, Schedule, check_same_lr, rescaled, shown


class PlateauState(NamedTuple):
    """The rate in use, the best value, the counters of ReduceLROnPlateau, and the updates done."""

    lr: Real
    best: Real
    num_bad_epochs: Int[Array, ""]
    cooldown_counter: Int[Array, ""]
    last_epoch: Int[Array, ""]


@dataclass(frozen=True, repr=False)
class PlateauSchedule:
    """An optax.schedules.StatefulSchedule: `inject_hyperparams` keeps its state."""

    init: Callable[[], PlateauState]
    update: Callable[..., PlateauState]
    call: str = "PlateauSchedule(…)"
    traced: bool = False

    def __repr__(self) -> str:
        """The call that makes it."""
        return self.call

    def __call__(self, state: PlateauState, **_: object) -> Real:
        """The learning rate of the next update."""
        return state.lr


@shown
def reduce_lr_on_plateau(
    lr: Scalar,
    mode: str = "min",
    factor: Scalar = 0.1,
    patience: Scalar = 10,
    threshold: Scalar = 1e-4,
    threshold_mode: str = "rel",
    cooldown: Scalar = 0,
    min_lr: Scalar = 0,
    eps: Scalar = 1e-8,
    *,
    together_with: Schedule | None = None,
) -> PlateauSchedule:
    """`lr`, times `factor` whenever the value has not improved for more than `patience` updates.

        improved: value < best · (1 − threshold)   (min, rel; max and abs accordingly)
        lr ← max(lr · factor, min_lr)              (unless that lowers it by eps or less)

    followed by `cooldown` updates in which nothing counts as bad. The value is an extra argument
    of the update, and changes the rate of the next one, as in torch's loop:

        optimizer = optax.inject_hyperparams(sgd)(lr=reduce_lr_on_plateau(0.1))
        updates, state = optimizer.update(gradients, state, params, value=loss)

    An update without `value` is none to the plateau.

    `together_with` is another schedule that moves the same rate, and first: with f its closed form,
    about its floor a, each update c takes lr ← a + (lr − a) · (f(c) − a) / (f(c−1) − a), as torch's
    recursions do in a loop that steps both; a value then lowers what that left. Its lr is `lr`.

    Raises ValueError for an option out of its range, or two different lr.

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
    if together_with is not None:
        check_same_lr([lr, together_with.lr])
    sign = 1.0 if mode == "min" else -1.0

    def init() -> PlateauState:
        worst = widest(sign * math.inf)
        first = widest(lr) if together_with is None else together_with(0)
        none = jnp.zeros((), int)
        return PlateauState(first, worst, none, none, none)

    def bar(best: Real) -> Real:
        """What a value has to be better than."""
        return (
            best * (1.0 - sign * threshold) if threshold_mode == "rel" else best - sign * threshold
        )

    def moved(state: PlateauState) -> PlateauState:
        """One update more, and what the other schedule makes of the rate."""
        count = state.last_epoch + 1
        if together_with is None:
            return state._replace(last_epoch=count)
        before, now = together_with(state.last_epoch), together_with(count)
        return state._replace(
            lr=rescaled(state.lr, together_with.floor, before, now), last_epoch=count
        )

    def update(state: PlateauState, *, value: Scalar | None = None, **_: object) -> PlateauState:
        state = moved(state)
        if value is None:
            return state
        value = widest(value)
        improved = sign * value < sign * bar(state.best)
        cooling = state.cooldown_counter > 0
        bad = jnp.where(improved | cooling, 0, state.num_bad_epochs + 1)
        stuck = bad > patience
        lower = jnp.maximum(state.lr * factor, min_lr)
        return state._replace(
            lr=jnp.where(stuck & (state.lr - lower > eps), lower, state.lr),
            best=jnp.where(improved, value, state.best),
            num_bad_epochs=jnp.where(stuck, 0, bad),
            cooldown_counter=jnp.where(
                stuck, cooldown, state.cooldown_counter - cooling.astype(int)
            ),
        )

    return PlateauSchedule(init, update)
