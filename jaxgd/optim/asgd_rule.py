"""Averaged stochastic gradient descent, as torch.optim.ASGD."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import (
    NO_PARAMS,
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_lr,
    check_non_negative,
    without_kernels,
)
from jaxgd.optim.precision import widest


class AverageState(NamedTuple):
    """The updates done and the averaged iterate, by torch's name."""

    t: Int[Array, ""]
    ax: optax.Params


@without_kernels
def asgd(
    lr: ScalarOrSchedule = 1e-2,
    lambd: Scalar = 1e-4,
    alpha: Scalar = 0.75,
    t0: Scalar = 1e6,
    weight_decay: Scalar = 0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Averaged stochastic gradient descent, as `torch.optim.ASGD`.

        g ← ±g + weight_decay p
        p ← p (1 - λ η) - η g,           η₁ = lr,  η_{t+1} = lr / (1 + λ lr t)^α
        ax ← ax + μ (p - ax),            μ₁ = 1,   μ_{t+1} = 1 / max(1, t - t0)

    The averaged iterate is the answer ASGD promises: `optax.tree.get(state, "ax")`. Until update
    t0 it is p itself: with t0=math.inf for ever.

    State: `AverageState`. Raises ValueError for a negative lr or weight_decay.

    Source: Acceleration of stochastic approximation by averaging (Polyak & Juditsky, 1992).
    Departs from torch: nothing beyond rounding. Torch keeps η and μ in its default dtype, and so
    both are rounded to float32 here. η takes the lr of the update before, as in torch, if lr is a
    number or a schedule; an lr changed from outside (inject_hyperparams) is felt an update early.
    """
    check_lr(lr)
    check_non_negative(weight_decay=weight_decay)
    remedy = "torch's defaults are 1e-4, 0.75 and 1e6."
    for name, value in {"lambd": lambd, "alpha": alpha}.items():
        check(name, value, "finite", lambda _: True, remedy)
    check("t0", t0, "a number", lambda value: value == value, remedy, infinite=True)

    def eta(count: Int[Array, ""]) -> Float[Array, ""]:
        last = jnp.maximum(count - 1, 0)
        rate = widest(at(lr, last))
        return _in_float32(rate / (1 + lambd * rate * widest(count)) ** alpha)

    return optax.chain(
        torch_gradient(weight_decay, maximize), scale_by_lr(eta, lambd), average_from(t0)
    )


def eta_and_mu(options: Mapping[str, Any], rate: float, step: int) -> dict[str, np.float32]:
    """Torch's η and μ after `step` updates, which are the next update's, in its default dtype.

    `rate` is the learning rate of the update before.
    """
    eta = rate / (1 + options["lambd"] * rate * step) ** options["alpha"]
    mu = 1 / max(1, step - options["t0"]) if step else 1.0
    return {"eta": np.float32(eta), "mu": np.float32(mu)}


def average_from(t0: Scalar) -> optax.GradientTransformation:
    """The updates as they are; the state holds the average of the iterates after update t0."""

    def init(params: optax.Params) -> AverageState:
        return AverageState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params))

    def update(
        updates: optax.Updates, state: AverageState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AverageState]:
        if params is None:
            raise ValueError(NO_PARAMS)
        late = jnp.where(state.t == 0, 1.0, jnp.maximum(1.0, widest(state.t) - t0))
        mu = _in_float32(1.0 / late)

        def average(ax: Array, param: Array, step: Array) -> Array:
            iterate = param + step
            return jnp.where(mu == 1, iterate, ax + mu.astype(ax.dtype) * (iterate - ax))

        ax = jax.tree.map(average, state.ax, params, updates)
        return updates, AverageState(optax.safe_increment(state.t), ax)

    return optax.GradientTransformation(init, update)


def _in_float32(scalar: Float[Array, ""]) -> Float[Array, ""]:
    """The scalar rounded to float32, in its own dtype: what torch's state keeps of it."""
    return scalar.astype(jnp.float32).astype(scalar.dtype)
