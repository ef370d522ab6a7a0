"""The shape of a schedule: its closed form, and what torch's recursion makes of another's rate."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgd.optim.options import Scalar
from jaxgd.optim.precision import widest

Real: TypeAlias = Float[Array, ""]
OfCount: TypeAlias = Callable[[Scalar], Real]
ClosedForm: TypeAlias = Callable[[Real], Real]


Options = ParamSpec("Options")
Made = TypeVar("Made")


def shown(build: Callable[Options, Made]) -> Callable[Options, Made]:
    """The function, of whose schedules each prints as the call that made it.

    And knows whether one of its options was traced, so that its rates have no value yet.
    """
    names = list(inspect.signature(build).parameters)

    @wraps(build)
    def made(*args: Options.args, **kwargs: Options.kwargs) -> Made:
        given = [f"{name}={value!r}" for name, value in zip(names, args, strict=False)]
        given += [f"{name}={value!r}" for name, value in kwargs.items()]
        schedule: Any = build(*args, **kwargs)
        traced = any(
            isinstance(leaf, jax.core.Tracer) or getattr(leaf, "traced", False)
            for leaf in jax.tree.leaves((args, kwargs))
        )
        return replace(schedule, call=f"{build.__name__}({', '.join(given)})", traced=traced)

    return made


@dataclass(frozen=True, repr=False)
class Schedule:
    """A learning rate as a pure function of the number of updates done, and how to compose it.

    `closed_form(count)` is the rate when this schedule alone moves it. Most of torch's
    schedulers do not know that value: they rescale, about `floor`, whatever rate the last
    scheduler left. A schedule that ignores the rate it finds has no floor (None). One that has no
    value of its own to start from in the middle of a run `resumes(rate, count)` from the rate it
    finds there.
    """

    lr: Scalar
    closed_form: ClosedForm
    floor: Scalar | None = 0.0
    resumes: Callable[[Real, Real], Real] | None = None
    call: str = "Schedule(…)"
    traced: bool = False

    def __repr__(self) -> str:
        """The call that makes it, such as `cosine_annealing_lr(lr=0.1, T_max=50)`."""
        return self.call

    def __call__(self, count: Scalar) -> Real:
        """The learning rate of update `count` (0-based), in the widest enabled float."""
        return self.closed_form(widest(count))


def rescaled(rate: Real, lowest: Scalar | None, before: Real, now: Real) -> Real:
    """The rate after a schedule whose own value goes from `before` to `now`: torch's recursion.

    About the floor: floor + (rate − floor) · (now − floor) / (before − floor), and from the floor
    itself by the difference. Without a floor the schedule overwrites the rate.
    """
    if lowest is None:
        return now
    floor = widest(lowest)
    at_floor = before == floor
    share = (now - floor) / jnp.where(at_floor, jnp.ones_like(before), before - floor)
    return jnp.where(at_floor, rate + now - floor, floor + (rate - floor) * share)


def check_same_lr(rates: Sequence[Scalar]) -> None:
    """Raise unless schedules that move one rate say the same of it, as far as it is known."""
    known = [lr for lr in rates if not isinstance(lr, jax.core.Tracer)]
    if any(lr != known[0] for lr in known):
        raise ValueError(
            "schedulers must share one lr, as they share torch's optimizer (one_cycle_lr makes it "
            f"max_lr / div_factor); got {known}. Give all of them the same lr."
        )


def tabulated(values: Float[np.ndarray, " total_steps"]) -> ClosedForm:
    """A closed form read from a table; NaN past its end, where no value was computed."""

    def value(count: Real) -> Real:
        table = jnp.asarray(values, jnp.result_type(float))
        return table.at[count.astype(int)].get(mode="fill", fill_value=jnp.nan)

    return value
