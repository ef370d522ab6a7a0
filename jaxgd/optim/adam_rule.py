"""Adam, AMSGrad and AdamW, as torch.optim.Adam and torch.optim.AdamW."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

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


class AdamState(NamedTuple):
    """The updates done and torch's buffers; `max_exp_avg_sq` is None without amsgrad."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    max_exp_avg_sq: optax.Updates | None


def adam(
    lr: ScalarOrSchedule = 1e-3,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> optax.GradientTransformation:
    """Adam, as `torch.optim.Adam`.

        g ← ±g + λ p                        (if decoupled: p ← p (1 - lr λ), and g ← ±g)
        m ← β1 m + (1 - β1) g
        v ← β2 v + (1 - β2) g²
        p ← p - lr · (m / (1 - β1^t)) / (√(v / (1 - β2^t)) + eps)

    With amsgrad the root is taken of the largest *uncorrected* v so far.

    State: `AdamState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. optax.adam cancels in its bias correction
    (8e-6 in float32), and optax.amsgrad takes the maximum after the correction.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(eps=eps, weight_decay=weight_decay)
    coupled, decoupled = (0.0, weight_decay) if decoupled_weight_decay else (weight_decay, 0.0)
    return optax.chain(
        torch_gradient(coupled, maximize),
        scale_by_adam(betas, eps, amsgrad),
        scale_by_lr(lr, decoupled),
    )


def adamw(
    lr: ScalarOrSchedule = 1e-3,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay, as `torch.optim.AdamW`: see `adam`.

    Departs from torch: nothing beyond rounding. optax.adamw decays by 1e-4 unless told.
    """
    return adam(
        lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
    )


def scale_by_adam(
    betas: tuple[Scalar, Scalar], eps: Scalar, amsgrad: bool
) -> optax.GradientTransformation:
    """The direction (m / (1 - β1^t)) / (√(v / (1 - β2^t)) + eps): see `adam`."""
    beta1, beta2 = betas

    def init(params: optax.Params) -> AdamState:
        zeros = partial(optax.tree.zeros_like, params)
        return AdamState(jnp.zeros([], jnp.int32), zeros(), zeros(), zeros() if amsgrad else None)

    def update(
        grads: optax.Updates, state: AdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdamState]:
        del params
        t = optax.safe_increment(state.t)
        exp_avg = optax.tree.update_moment(grads, state.exp_avg, beta1, 1)
        exp_avg_sq = optax.tree.update_moment(grads, state.exp_avg_sq, beta2, 2)
        largest = jax.tree.map(jnp.maximum, state.max_exp_avg_sq, exp_avg_sq) if amsgrad else None
        correction1 = bias_correction(beta1, t)
        root_correction2 = jnp.sqrt(bias_correction(beta2, t))

        def direction(m: Float[Array, "..."], v: Float[Array, "..."]) -> Float[Array, "..."]:
            denominator = jnp.sqrt(v) / root_correction2.astype(v.dtype) + eps
            return m / correction1.astype(m.dtype) / denominator

        second_moment = largest if amsgrad else exp_avg_sq
        directions = jax.tree.map(direction, exp_avg, second_moment)
        return directions, AdamState(t, exp_avg, exp_avg_sq, largest)

    return optax.GradientTransformation(init, update)
