"""NAdam, as torch.optim.NAdam."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.corrections import bias_correction
from jaxgd.optim.leaves import Moments, Scalars, leafwise, no_updates
from jaxgd.optim.moments import average, average_of_squares, root
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
from jaxgd.optim.precision import widest
from jaxgd.optim.torch_order import torch_chain


class NAdamState(NamedTuple):
    """The updates done and torch's buffers, by torch's names; `mu_product` is in float32."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    mu_product: Float[Array, ""]


@without_kernels
def nadam(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
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
    return torch_chain(
        scale_by_nadam(betas, eps, momentum_decay),
        lr,
        weight_decay,
        decoupled=decoupled_weight_decay,
        maximize=maximize,
    )


def scale_by_nadam(
    betas: Betas, eps: Scalar, momentum_decay: Scalar
) -> optax.GradientTransformation:
    """The direction of `nadam`: what its last line multiplies by -lr."""

    def mu(step: Float[Array, ""], beta1: Scalar) -> Float[Array, ""]:
        """The momentum of one update, which warms up from about β1 / 2 to β1."""
        return (1.0 - 0.5 * jnp.exp(step * momentum_decay * math.log(0.96))) * beta1

    def advance(state: Any) -> tuple[Any, Scalars]:
        t = optax.safe_increment(state.t)
        step, beta1, beta2 = widest(t), at(betas[0], state.t), betas[1]
        mu_now, mu_next = mu(step, beta1), mu(step + 1, beta1)
        mu_product = state.mu_product * mu_now.astype(state.mu_product.dtype)
        product = mu_product.astype(step.dtype)
        of_gradient = (1 - mu_now) / (1 - product)
        of_average = mu_next / (1 - product * mu_next)
        scalars = beta1, beta2, bias_correction(beta2, t), of_gradient, of_average
        return state._replace(t=t, mu_product=mu_product), scalars

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        beta1, beta2, correction2, of_gradient, of_average = scalars
        m, v = moments
        m = average(m, g, beta1)
        v = average_of_squares(v, g, beta2)
        blend = of_gradient * g + of_average * m
        return blend / (root(v / correction2) + eps), (m, v)

    def no_product() -> Array:
        return jnp.ones([], jnp.float32)

    moments = {"exp_avg": jnp.zeros_like, "exp_avg_sq": jnp.zeros_like}
    return leafwise(NAdamState, moments, leaf, advance, t=no_updates, mu_product=no_product)
