"""Stochastic gradient descent, as torch.optim.SGD."""

import jax.numpy as jnp
import optax

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check,
    check_lr,
    check_non_negative,
    is_static_zero,
)


def sgd(
    lr: ScalarOrSchedule = 1e-3,
    momentum: Scalar = 0,
    dampening: Scalar = 0,
    weight_decay: Scalar = 0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum, as `torch.optim.SGD`.

        g ← ±g + λ p
        b ← g at the first update, then m b + (1 - d) g
        p ← p - lr · (g + m b  if nesterov, else b)

    State: `optax.TraceState.trace` is torch's `momentum_buffer`; absent for momentum=0.

    Raises ValueError for a negative option, or nesterov without momentum or with dampening.

    Departs from torch: nothing beyond rounding.
    """
    check_lr(lr)
    check_non_negative(momentum=momentum, weight_decay=weight_decay)
    check("dampening", dampening, "finite", lambda _: True, "Use dampening=0 for none.")
    if nesterov and (is_static_zero(momentum) or not is_static_zero(dampening)):
        raise ValueError(
            "nesterov must have a momentum and no dampening; got "
            f"momentum={momentum}, dampening={dampening}. Use momentum=0.9, dampening=0."
        )
    return optax.chain(
        torch_gradient(weight_decay, maximize),
        _momentum(momentum, dampening, nesterov),
        scale_by_lr(lr),
    )


def _momentum(momentum: Scalar, dampening: Scalar, nesterov: bool) -> optax.GradientTransformation:
    """Torch's momentum buffer, into which the first gradient goes undamped."""
    if is_static_zero(momentum):
        return optax.identity()
    trace = optax.trace(momentum, nesterov)
    if is_static_zero(dampening):
        return trace
    damp = optax.scale_by_schedule(lambda count: jnp.where(count == 0, 1.0, 1.0 - dampening))
    return optax.chain(damp, trace)
