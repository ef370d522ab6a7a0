"""RMSprop, as torch.optim.RMSprop."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
from jaxgd.optim.moments import average, average_of_squares, root
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_lr,
    check_momentum,
    check_non_negative,
    is_static_zero,
    without_kernels,
)
from jaxgd.optim.torch_order import torch_chain


class RMSpropState(NamedTuple):
    """The updates done and torch's buffers, by torch's names; None for what is not in use."""

    t: Int[Array, ""]
    square_avg: optax.Updates
    grad_avg: optax.Updates | None
    momentum_buffer: optax.Updates | None


@without_kernels
def rmsprop(
    lr: ScalarOrSchedule = 1e-2,
    alpha: Scalar = 0.99,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    momentum: ScalarOrSchedule = 0,
    centered: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """RMSprop, as `torch.optim.RMSprop`.

        g ← ±g + λ p
        v ← α v + (1 - α) g²
        m ← α m + (1 - α) g                           (if centered, else m = 0)
        b ← μ b + g / (√(v - m²) + eps)
        p ← p - lr b

    `momentum` may be a schedule: `schedules.one_cycle_lr(…).momentum`.

    State: `RMSpropState`. Raises ValueError for a negative option.

    Departs from torch: nothing beyond rounding. Centered, where all gradients are alike, v - m²
    is nothing but rounding, and may be negative (NaN) in the one and not in the other.
    optax.rmsprop puts eps under the root and the learning rate before the momentum.
    """
    check_lr(lr)
    check_momentum(momentum)
    check_non_negative(eps=eps, weight_decay=weight_decay)
    remedy = "torch's default is alpha=0.99."
    check("alpha", alpha, "finite and at least 0", lambda value: value >= 0, remedy)
    rule = scale_by_rmsprop(alpha, eps, momentum, centered)
    return torch_chain(rule, lr, weight_decay, maximize=maximize)


def scale_by_rmsprop(
    alpha: Scalar, eps: Scalar, momentum: ScalarOrSchedule, centered: bool
) -> optax.GradientTransformation:
    """The direction b of `rmsprop`."""
    gathers = not is_static_zero(momentum)

    def scalars(t: Int[Array, ""]) -> Scalars:
        return (at(momentum, t - 1),)

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        v, m, b = moments
        v = average_of_squares(v, g, alpha)
        m = average(m, g, alpha) if centered else m
        direction = g / (root(v - m * m if centered else v) + eps)
        b = direction + scalars[0] * b if gathers else b
        return b if gathers else direction, (v, m, b)

    zeros = jnp.zeros_like
    moments = {
        "square_avg": zeros,
        "grad_avg": zeros if centered else None,
        "momentum_buffer": zeros if gathers else None,
    }
    return leafwise(RMSpropState, moments, leaf, counted(scalars), t=no_updates)
