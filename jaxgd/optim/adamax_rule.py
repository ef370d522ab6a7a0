"""Adamax, as torch.optim.Adamax."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.corrections import bias_correction
from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check_betas,
    check_lr,
    check_non_negative,
)


class AdamaxState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_inf: optax.Updates


def adamax(
    lr: ScalarOrSchedule = 2e-3,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
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
    return optax.chain(
        torch_gradient(weight_decay, maximize), scale_by_adamax(betas, eps), scale_by_lr(lr)
    )


def scale_by_adamax(betas: tuple[Scalar, Scalar], eps: Scalar) -> optax.GradientTransformation:
    """The direction (m / (1 - β1^t)) / s: see `adamax`."""
    beta1, beta2 = betas

    def init(params: optax.Params) -> AdamaxState:
        zeros = partial(optax.tree.zeros_like, params)
        return AdamaxState(jnp.zeros([], jnp.int32), zeros(), zeros())

    def update(
        grads: optax.Updates, state: AdamaxState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdamaxState]:
        del params
        t = optax.safe_increment(state.t)
        exp_avg = optax.tree.update_moment(grads, state.exp_avg, beta1, 1)
        exp_inf = optax.tree.update_infinity_moment(grads, state.exp_inf, beta2, eps)
        correction = bias_correction(beta1, t)
        directions = jax.tree.map(lambda m, s: m / correction.astype(m.dtype) / s, exp_avg, exp_inf)
        return directions, AdamaxState(t, exp_avg, exp_inf)

    return optax.GradientTransformation(init, update)
