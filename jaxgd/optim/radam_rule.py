"""RAdam, as torch.optim.RAdam."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.corrections import bias_correction, log
from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
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


class RAdamState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates


@without_kernels
def radam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Rectified Adam, as `torch.optim.RAdam`.

        g ← ±g + λ p                        (if decoupled: p ← p (1 - lr λ), and g ← ±g)
        m ← β1 m + (1 - β1) g,   m̂ = m / (1 - β1^t)
        v ← β2 v + (1 - β2) g²
        ρ = ρ_∞ - 2 t β2^t / (1 - β2^t),   ρ_∞ = 2 / (1 - β2) - 1
        p ← p - lr · m̂ · r √(1 - β2^t) / (√v + eps)   where ρ > 5,   else p - lr · m̂
        r² = (ρ - 4)(ρ - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ)

    State: `RAdamState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding, which is torch's: ρ is a small difference of
    large numbers, and costs torch four digits of an update in double. optax.radam adds eps after
    the bias correction, and cancels in float32.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(eps=eps, weight_decay=weight_decay)
    return torch_chain(
        scale_by_radam(betas, eps),
        lr,
        weight_decay,
        decoupled=decoupled_weight_decay,
        maximize=maximize,
    )


def scale_by_radam(betas: Betas, eps: Scalar) -> optax.GradientTransformation:
    """The direction of `radam`: what its last line multiplies by -lr."""

    def scalars(t: Int[Array, ""]) -> Scalars:
        beta1, beta2 = at(betas[0], t - 1), betas[1]
        rho = average_length(beta2, t)
        scale = rectification(beta2, rho) * jnp.sqrt(bias_correction(beta2, t))
        return beta1, beta2, bias_correction(beta1, t), rho > 5, scale

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        beta1, beta2, correction1, is_long, scale = scalars
        m, v = moments
        m = average(m, g, beta1)
        v = average_of_squares(v, g, beta2)
        adaptive = scale / (root(v) + eps)
        return m / correction1 * jnp.where(is_long, adaptive, 1.0), (m, v)

    moments = {"exp_avg": jnp.zeros_like, "exp_avg_sq": jnp.zeros_like}
    return leafwise(RAdamState, moments, leaf, counted(scalars), t=no_updates)


def average_length(beta2: Scalar, t: Int[Array, ""]) -> Float[Array, ""]:
    """The length ρ of the simple average that v is worth after `t` updates.

    With L = -log β2 and x = t L, as t + (ρ_∞ - 2/L) - (2/L)(x / expm1(x) - 1 + x/2): the bracket
    is x²/12 - x⁴/720 + …, summed as a series where the difference would cancel.
    """
    rate = -log(beta2)
    step = widest(t)
    x = step * rate
    series = jnp.polyval(jnp.asarray(_BERNOULLI, x.dtype), jnp.square(x)) * x
    # Beyond 1/2 the difference is good to rounding; below, the series is (next term: 1e-13).
    bracket_over_x = jnp.where(x < 0.5, series, 1 / jnp.expm1(x) - 1 / x + 0.5)
    return step + (2 / (1 - beta2) - 1 - 2 / rate) - 2 * step * bracket_over_x


# B_{2k} / (2k)! for k = 5 … 1, from x / expm1(x) = 1 - x/2 + Σ B_{2k} x^{2k} / (2k)!.
_BERNOULLI = (1 / 47900160, -1 / 1209600, 1 / 30240, -1 / 720, 1 / 12)


def rectification(beta2: Scalar, rho: Float[Array, ""]) -> Float[Array, ""]:
    """The factor r on the step of `radam`; of no meaning where rho ≤ 5.

    There both lengths count as 5: a NaN would go unused, but not unfelt by a gradient.
    """
    rho, rho_inf = jnp.maximum(rho, 5.0), jnp.maximum(2 / (1 - beta2) - 1, 5.0)
    return jnp.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
