"""The last line of every torch optimizer: decoupled weight decay, then the learning rate."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.options import (
    NO_PARAMS,
    Scalar,
    ScalarOrSchedule,
    at,
    check_params,
    is_static_zero,
)
from jaxgd.optim.precision import widest


class LearningRateState(NamedTuple):
    """How many updates are done: torch's `state["step"]`, and the argument of the schedule."""

    step: Int[Array, ""]


def scale_by_lr(
    lr: ScalarOrSchedule,
    decoupled_weight_decay: Scalar = 0.0,
    limit: Callable[[Array, Array], Array] | None = None,
) -> optax.GradientTransformation:
    """The step -lr · u, after the parameters have decayed by the factor 1 - lr · weight_decay.

        p ← p (1 - lr λ),   p ← p - lr u

    A schedule gets the number of updates done (0 at the first). It is evaluated in the precision
    it returns, so float64 stays exact under x64, and the state is the same for a number and
    for a schedule: a run may change from one to the other. `limit(lr, count)` takes the place of lr
    in the step, and not in the decay.

    Departs from torch: nothing in float64. The decayed parameter is rounded to its own
    precision before the step, as in torch, but only the difference is handed on, which adds one
    rounding at the scale of the step.
    """

    def init(params: optax.Params) -> LearningRateState:
        check_params(params)
        return LearningRateState(jnp.zeros([], jnp.int32))

    def update(
        direction: optax.Updates, state: LearningRateState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, LearningRateState]:
        rate = at(lr, state.step)
        length = rate if limit is None else limit(widest(rate), state.step)
        updates = jax.tree.map(lambda u: -jnp.asarray(length, u.dtype) * u, direction)
        if not is_static_zero(decoupled_weight_decay):
            if params is None:
                raise ValueError(NO_PARAMS)
            kept = 1.0 - rate * decoupled_weight_decay
            updates = jax.tree.map(lambda u, p: _decay(p, kept) + u, updates, params)
        return updates, LearningRateState(optax.safe_increment(state.step))

    return optax.GradientTransformation(init, update)


def _decay(param: Array, kept: Scalar) -> Array:
    """The change round(p · kept) - p, exact where kept is in [1/2, 2].

    XLA contracts `p * c - q` on the CPU to a fused multiply-add, which never rounds the product:
    in float32 a decay of 1e-8 a step would then be felt where torch's is lost. A maximum with the
    least finite number stands between the two operations and cannot be optimized away; an
    optimization barrier can.
    """
    least = float(jnp.finfo(param.dtype).min)
    return jnp.maximum(param * jnp.asarray(kept, param.dtype), least) - param
