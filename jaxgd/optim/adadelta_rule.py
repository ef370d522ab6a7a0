"""Adadelta, as torch.optim.Adadelta."""

import optax

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import Scalar, ScalarOrSchedule, check, check_lr, check_non_negative


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

    State: `optax.ScaleByAdaDeltaState`, where `e_g` is torch's `square_avg` (v) and `e_x` its
    `acc_delta` (x). Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. optax.adadelta without a learning rate ascends.
    """
    check_lr(lr)
    check("rho", rho, "in [0, 1]", lambda value: 0 <= value <= 1, "torch's default is rho=0.9.")
    check_non_negative(eps=eps, weight_decay=weight_decay)
    return optax.chain(
        torch_gradient(weight_decay, maximize), optax.scale_by_adadelta(rho, eps), scale_by_lr(lr)
    )
