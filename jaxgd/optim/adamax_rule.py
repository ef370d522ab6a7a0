"""Adamax, as torch.optim.Adamax."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.corrections import bias_correction
from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
from jaxgd.optim.moments import average
from jaxgd.optim.options import (
    Betas,
    Scalar,
    ScalarOrSchedule,
    at,
    check_betas,
    check_lr,
    check_non_negative,
    without_kernels,
)
from jaxgd.optim.torch_order import torch_chain


class AdamaxState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_inf: optax.Updates


@without_kernels
def adamax(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam in the infinity norm, as `torch.optim.Adamax`.

        g ← ±g + λ p
        m ← β1 m + (1 - β1) g
        s ← max(β2 s, |g| + eps)
        p ← p - lr · (m / (1 - β1^t)) / s

    State: `AdamaxState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(eps=eps, weight_decay=weight_decay)
    return torch_chain(scale_by_adamax(betas, eps), lr, weight_decay, maximize=maximize)


def scale_by_adamax(betas: Betas, eps: Scalar) -> optax.GradientTransformation:
    """The direction (m / (1 - β1^t)) / s: see `adamax`."""

    def scalars(t: Int[Array, ""]) -> Scalars:
        beta1 = at(betas[0], t - 1)
        return beta1, betas[1], bias_correction(beta1, t)

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        beta1, beta2, correction = scalars
        m, s = moments
        m = average(m, g, beta1)
        s = jnp.maximum(jnp.abs(g) + eps, beta2 * s)
        return m / correction / s, (m, s)

    moments = {"exp_avg": jnp.zeros_like, "exp_inf": jnp.zeros_like}
    return leafwise(AdamaxState, moments, leaf, counted(scalars), t=no_updates)
