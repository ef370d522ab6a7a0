"""NAdam, as torch.optim.NAdam."""

import math
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
from jaxgd.optim.precision import widest


class NAdamState(NamedTuple):
    """The updates done and torch's buffers, by torch's names; `mu_product` is in float32."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    mu_product: Float[Array, ""]


def nadam(
    lr: ScalarOrSchedule = 2e-3,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    momentum_decay: Scalar = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam with Nesterov's momentum, as `torch.optim.NAdam`.

        g ← ±g + λ p                        (if decoupled: p ← p (1 - lr λ), and g ← ±g)
        m ← β1 m + (1 - β1) g
        v ← β2 v + (1 - β2) g²
        μ_t = β1 (1 - ½ 0.96^(t ψ)),   Π_t = Π_{t-1} μ_t,   ψ = momentum_decay
        p ← p - lr · [g (1 - μ_t) / (1 - Π_t) + m μ_{t+1} / (1 - Π_t μ_{t+1})]
                   / (√(v / (1 - β2^t)) + eps)

    State: `NAdamState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. Torch begins Π in its default dtype, and so does Π
    begin in float32 here whatever the parameters are; torch.set_default_dtype would move it there.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
    coupled, decoupled = (0.0, weight_decay) if decoupled_weight_decay else (weight_decay, 0.0)
    return optax.chain(
        torch_gradient(coupled, maximize),
        scale_by_nadam(betas, eps, momentum_decay),
        scale_by_lr(lr, decoupled),
    )


def scale_by_nadam(
    betas: tuple[Scalar, Scalar], eps: Scalar, momentum_decay: Scalar
) -> optax.GradientTransformation:
    """The direction of `nadam`: what its last line multiplies by -lr."""
    beta1, beta2 = betas

    def mu(step: Float[Array, ""]) -> Float[Array, ""]:
        """The momentum of one update, which warms up from about β1 / 2 to β1."""
        return (1.0 - 0.5 * jnp.exp(step * momentum_decay * math.log(0.96))) * beta1

    def init(params: optax.Params) -> NAdamState:
        zeros = partial(optax.tree.zeros_like, params)
        return NAdamState(jnp.zeros([], jnp.int32), zeros(), zeros(), jnp.ones([], jnp.float32))

    def update(
        grads: optax.Updates, state: NAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, NAdamState]:
        del params
        t = optax.safe_increment(state.t)
        exp_avg = optax.tree.update_moment(grads, state.exp_avg, beta1, 1)
        exp_avg_sq = optax.tree.update_moment(grads, state.exp_avg_sq, beta2, 2)
        correction2 = bias_correction(beta2, t)

        step = widest(t)
        mu_now, mu_next = mu(step), mu(step + 1)
        mu_product = state.mu_product * mu_now.astype(state.mu_product.dtype)
        product = mu_product.astype(step.dtype)
        of_grad = (1 - mu_now) / (1 - product)
        of_average = mu_next / (1 - product * mu_next)

        def direction(g: Array, m: Array, v: Array) -> Array:
            blend = of_grad.astype(g.dtype) * g + of_average.astype(m.dtype) * m
            return blend / (jnp.sqrt(v / correction2.astype(v.dtype)) + eps)

        directions = jax.tree.map(direction, grads, exp_avg, exp_avg_sq)
        return directions, NAdamState(t, exp_avg, exp_avg_sq, mu_product)

    return optax.GradientTransformation(init, update)
