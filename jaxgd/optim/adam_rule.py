"""Adam, AMSGrad and AdamW, as torch.optim.Adam and torch.optim.AdamW."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.corrections import bias_correction
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
from jaxgd.optim.torch_order import torch_chain


class AdamState(NamedTuple):
    """The updates done and torch's buffers; `max_exp_avg_sq` is None without amsgrad."""

    t: Int[Array, ""]
    exp_avg: optax.Updates
    exp_avg_sq: optax.Updates
    max_exp_avg_sq: optax.Updates | None


@without_kernels
def adam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
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

    With amsgrad the root is taken of the largest *uncorrected* v so far. The first beta may be a
    schedule, as `schedules.one_cycle_lr` gives one: `betas=(cycle.momentum, 0.999)`.

    State: `AdamState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. optax.adam cancels in its bias correction
    (8e-6 in float32), and optax.amsgrad takes the maximum after the correction.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(eps=eps, weight_decay=weight_decay)
    return torch_chain(
        scale_by_adam(betas, eps, amsgrad),
        lr,
        weight_decay,
        decoupled=decoupled_weight_decay,
        maximize=maximize,
    )


@without_kernels
def adamw(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
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


def scale_by_adam(betas: Betas, eps: Scalar, amsgrad: bool) -> optax.GradientTransformation:
    """The direction (m / (1 - β1^t)) / (√(v / (1 - β2^t)) + eps): see `adam`."""

    def scalars(t: Int[Array, ""]) -> Scalars:
        beta1, beta2 = at(betas[0], t - 1), betas[1]
        return beta1, beta2, bias_correction(beta1, t), jnp.sqrt(bias_correction(beta2, t))

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        beta1, beta2, correction1, root_correction2 = scalars
        m, v, largest = moments
        m = average(m, g, beta1)
        v = average_of_squares(v, g, beta2)
        largest = jnp.maximum(largest, v) if amsgrad else largest
        denominator = root(largest if amsgrad else v) / root_correction2 + eps
        return m / correction1 / denominator, (m, v, largest)

    zeros = jnp.zeros_like
    moments = {
        "exp_avg": zeros,
        "exp_avg_sq": zeros,
        "max_exp_avg_sq": zeros if amsgrad else None,
    }
    return leafwise(AdamState, moments, leaf, counted(scalars), t=no_updates)
