"""RMSprop, as torch.optim.RMSprop."""

import optax

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check,
    check_lr,
    check_non_negative,
    is_static_zero,
)


def rmsprop(
    lr: ScalarOrSchedule = 1e-2,
    alpha: Scalar = 0.99,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    momentum: Scalar = 0,
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

    State: `optax.ScaleByRmsState` or, if centered, `optax.ScaleByRStdDevState`, where `nu` is
    torch's `square_avg` (v) and `mu` its `grad_avg` (m); `optax.TraceState.trace` is torch's
    `momentum_buffer` (b), absent for momentum=0.

    Raises ValueError for a negative option.

    Departs from torch: nothing beyond rounding. Centered, where all gradients are alike, v - m²
    is nothing but rounding, and may be negative (NaN) in the one and not in the other.
    optax.rmsprop puts eps under the root and the learning rate before the momentum.
    """
    check_lr(lr)
    check_non_negative(eps=eps, momentum=momentum, weight_decay=weight_decay)
    remedy = "torch's default is alpha=0.99."
    check("alpha", alpha, "finite and at least 0", lambda value: value >= 0, remedy)
    scale_by = optax.scale_by_stddev if centered else optax.scale_by_rms
    return optax.chain(
        torch_gradient(weight_decay, maximize),
        scale_by(alpha, eps, eps_in_sqrt=False),
        optax.identity() if is_static_zero(momentum) else optax.trace(momentum),
        scale_by_lr(lr),
    )
