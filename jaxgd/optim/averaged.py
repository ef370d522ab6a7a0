"""An optimizer that keeps an average of the params it leads to."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.averages import exponential_average, uniform_average
from jaxgd.optim.options import NO_PARAMS


class AveragedState(NamedTuple):
    """The updates done, the average of the params after each, and the optimizer's own state."""

    t: Int[Array, ""]
    average: optax.Params
    inner_state: Any


def with_average(
    inner: optax.GradientTransformation, decay: float | None = None
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, which makes the same updates, and whose state holds the params' average.

        a ← the mean of the params after every update so far (Polyak),
            or `exponential_average` of them with a decay

    `fit(…, params_of=average_of)` judges and returns it.

    Departs from torch.optim.swa_utils.AveragedModel, updated after every step: nothing beyond
    rounding.
    """
    within = optax.with_extra_args_support(inner)

    def init(params: optax.Params) -> AveragedState:
        return AveragedState(jnp.zeros((), jnp.int32), params, within.init(params))

    def update(
        grads: optax.Updates,
        state: AveragedState,
        params: optax.Params | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, AveragedState]:
        if params is None:
            raise ValueError(NO_PARAMS)
        updates, inner_state = within.update(grads, state.inner_state, params, **extra)
        after, n = optax.apply_updates(params, updates), state.t
        if decay is None:
            average = uniform_average(state.average, after, n)
        else:
            average = exponential_average(state.average, after, n, decay)
        return updates, AveragedState(optax.safe_increment(n), average, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def average_of(state: Any) -> optax.Params:
    """The average in a training's state `(params, opt_state)`, of an optimizer `with_average`."""
    return optax.tree.get(state.opt_state, "average")
