"""Cosine annealing: forever to and fro, or with warm restarts."""

from math import pi

import jax.numpy as jnp

from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest
from jaxgd.optim.schedules.schedule import Real, Schedule, shown

PERIODS = 31  # each at least twice as long as the last: together 2³¹ - 1, optax's last count


@shown
def cosine_annealing_lr(lr: Scalar, T_max: Scalar, eta_min: Scalar = 0.0) -> Schedule:
    """`lr` annealed to `eta_min` in `T_max` updates, back in as many, and so on.

        eta_min + (lr − eta_min) · (1 + cos(π c / T_max)) / 2

    Source: SGDR (Loshchilov & Hutter, 2017), without the restarts.
    Departs from torch.optim.lr_scheduler.CosineAnnealingLR: nothing.
    """
    remedy = "Use the number of updates of the run."
    check("T_max", T_max, "at least 1", lambda value: value >= 1, remedy)

    def closed_form(c: Real) -> Real:
        half, low = widest(T_max), widest(eta_min)
        phase = jnp.mod(c, 2 * half) / half  # whole turns leave first: cos stays exact in f32
        return low + (widest(lr) - low) * (1 + jnp.cos(pi * phase)) / 2

    return Schedule(lr, closed_form, floor=eta_min)


@shown
def cosine_annealing_warm_restarts(
    lr: Scalar, T_0: Scalar, T_mult: Scalar = 1, eta_min: Scalar = 0.0
) -> Schedule:
    """`lr` annealed to `eta_min` and set back, each period `T_mult` times as long as the last.

        eta_min + (lr − eta_min) · (1 + cos(π T_cur / T_i)) / 2

    with T_cur the updates since the last restart and T_i = T_0 · T_mult^i its period.

    Source: SGDR (Loshchilov & Hutter, 2017).
    Departs from torch.optim.lr_scheduler.CosineAnnealingWarmRestarts: nothing.
    """
    remedy = "Use T_0 updates for the first period and T_mult=1 for equal ones."
    for name, value in {"T_0": T_0, "T_mult": T_mult}.items():
        check(name, value, "a positive integer", lambda v: v >= 1 and v == int(v), remedy)

    def position(c: Real) -> Real:
        first, growth = widest(T_0), widest(T_mult)
        lengths = first * growth ** jnp.arange(PERIODS, dtype=c.dtype)
        starts = jnp.cumsum(lengths) - lengths
        period = jnp.searchsorted(starts, c, side="right") - 1
        growing = (c - starts[period]) / lengths[period]
        return jnp.where(growth == 1, jnp.mod(c, first) / first, growing)

    def closed_form(c: Real) -> Real:
        low = widest(eta_min)
        return low + (widest(lr) - low) * (1 + jnp.cos(pi * position(c))) / 2

    return Schedule(lr, closed_form, floor=None)
