"""Lion, as lion_pytorch.Lion."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

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
)
from jaxgd.optim.torch_order import torch_chain


class LionState(NamedTuple):
    """The updates done and the package's buffer, by its name."""

    t: Int[Array, ""]
    exp_avg: optax.Updates


def lion(
    lr: ScalarOrSchedule = 1e-4,
    betas: Betas = (0.9, 0.99),
    weight_decay: Scalar = 0.0,
) -> optax.GradientTransformation:
    """The sign of an average, as `lion_pytorch.Lion`.

        p ← p (1 - lr λ)
        p ← p - lr · sign(β1 m + (1 - β1) g)
        m ← β2 m + (1 - β2) g

    State: `LionState`. Raises ValueError for an option out of its range.

    Source: Symbolic discovery of optimization algorithms (Chen et al., 2023).
    Departs from lion_pytorch: nothing beyond rounding, but a rounding of an average near 0 is a
    whole step, there as here. Its decoupled_weight_decay=True is weight_decay / lr here. optax.lion
    decays by 1e-3 unless told.
    """
    check_lr(lr)
    check_betas(betas)
    check_non_negative(weight_decay=weight_decay)

    def scalars(t: Int[Array, ""]) -> Scalars:
        return at(betas[0], t - 1), betas[1]

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        beta1, beta2 = scalars
        return jnp.sign(average(moments[0], g, beta1)), (average(moments[0], g, beta2),)

    rule = leafwise(LionState, {"exp_avg": jnp.zeros_like}, leaf, counted(scalars), t=no_updates)
    return torch_chain(rule, lr, weight_decay, decoupled=True)
