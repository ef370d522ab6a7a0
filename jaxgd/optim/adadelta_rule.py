"""Adadelta, as torch.optim.Adadelta."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
from jaxgd.optim.moments import average_of_squares
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check,
    check_lr,
    check_non_negative,
    without_kernels,
)
from jaxgd.optim.torch_order import torch_chain


class AdadeltaState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    square_avg: optax.Updates
    acc_delta: optax.Updates


@without_kernels
def adadelta(
    lr: ScalarOrSchedule = 1.0,
    rho: Scalar = 0.9,
    eps: Scalar = 1e-6,
    weight_decay: Scalar = 0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adadelta, as `torch.optim.Adadelta`.

        g ← ±g + λ p
        v ← ρ v + (1 - ρ) g²
        u = √(x + eps) / √(v + eps) · g
        x ← ρ x + (1 - ρ) u²
        p ← p - lr u

    State: `AdadeltaState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. optax.adadelta without a learning rate ascends.
    """
    check_lr(lr)
    check("rho", rho, "in [0, 1]", lambda value: 0 <= value <= 1, "torch's default is rho=0.9.")
    check_non_negative(eps=eps, weight_decay=weight_decay)
    return torch_chain(scale_by_adadelta(rho, eps), lr, weight_decay, maximize=maximize)


def scale_by_adadelta(rho: Scalar, eps: Scalar) -> optax.GradientTransformation:
    """The direction √(x + eps) / √(v + eps) · g: see `adadelta`."""

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        del scalars
        v, x = moments
        v = average_of_squares(v, g, rho)
        u = jnp.sqrt(x + eps) / jnp.sqrt(v + eps) * g
        return u, (v, average_of_squares(x, u, rho))

    moments = {"square_avg": jnp.zeros_like, "acc_delta": jnp.zeros_like}
    return leafwise(AdadeltaState, moments, leaf, counted(), t=no_updates)
