"""Stochastic gradient descent, as torch.optim.SGD."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
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


class SGDState(NamedTuple):
    """The updates done and torch's buffer, by torch's name."""

    t: Int[Array, ""]
    momentum_buffer: optax.Updates


@without_kernels
def sgd(
    lr: ScalarOrSchedule = 1e-3,
    momentum: ScalarOrSchedule = 0,
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

    `momentum` may be a schedule: `schedules.one_cycle_lr(…).momentum`.

    State: `SGDState`; `optax.EmptyState` for momentum=0.

    Raises ValueError for a negative option, or nesterov without momentum or with dampening.

    Departs from torch: nothing beyond rounding.
    """
    check_lr(lr)
    check_momentum(momentum)
    check_non_negative(weight_decay=weight_decay)
    check("dampening", dampening, "finite", lambda _: True, "Use dampening=0 for none.")
    if nesterov and (is_static_zero(momentum) or not is_static_zero(dampening)):
        raise ValueError(
            "nesterov must have a momentum and no dampening; got "
            f"momentum={momentum}, dampening={dampening}. Use momentum=0.9, dampening=0."
        )
    plain = is_static_zero(momentum)
    rule = optax.identity() if plain else gather_momentum(momentum, dampening, nesterov)
    return torch_chain(rule, lr, weight_decay, maximize=maximize)


def gather_momentum(
    momentum: ScalarOrSchedule, dampening: Scalar, nesterov: bool
) -> optax.GradientTransformation:
    """The direction g + m b or b of `sgd`."""
    is_damped = not is_static_zero(dampening)

    def scalars(t: Int[Array, ""]) -> Scalars:
        return at(momentum, t - 1), jnp.where(t == 1, 1.0, 1.0 - dampening) if is_damped else 1.0

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        m, share = scalars
        buffer = (share * g if is_damped else g) + m * moments[0]
        return g + m * buffer if nesterov else buffer, (buffer,)

    moments = {"momentum_buffer": jnp.zeros_like}
    return leafwise(SGDState, moments, leaf, counted(scalars), t=no_updates)
