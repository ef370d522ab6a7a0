"""Adagrad, as torch.optim.Adagrad."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.leaves import Moments, Scalars, counted, leafwise, no_updates
from jaxgd.optim.moments import root
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check_lr,
    check_non_negative,
    without_kernels,
)
from jaxgd.optim.precision import widest
from jaxgd.optim.torch_order import torch_chain


class AdagradState(NamedTuple):
    """The updates done and torch's buffer, by torch's name."""

    t: Int[Array, ""]
    sum: optax.Updates


@without_kernels
def adagrad(
    lr: ScalarOrSchedule = 1e-2,
    lr_decay: Scalar = 0,
    weight_decay: Scalar = 0,
    initial_accumulator_value: Scalar = 0,
    eps: Scalar = 1e-10,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adagrad, as `torch.optim.Adagrad`.

        g ← ±g + λ p
        s ← s + g²,   s₀ = initial_accumulator_value
        p ← p - lr / (1 + (t - 1) lr_decay) · g / (√s + eps)

    State: `AdagradState`. Raises ValueError for an option out of its range.

    Departs from torch: nothing beyond rounding. optax.adagrad starts the sum at 0.1 and puts
    eps under the root.
    """
    check_lr(lr)
    check_non_negative(
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
    )
    return torch_chain(
        scale_by_adagrad(lr_decay, initial_accumulator_value, eps),
        lr,
        weight_decay,
        maximize=maximize,
    )


def scale_by_adagrad(
    lr_decay: Scalar, initial_accumulator_value: Scalar, eps: Scalar
) -> optax.GradientTransformation:
    """The direction g / (√s + eps) / (1 + (t - 1) lr_decay): see `adagrad`."""

    def slowing(t: Int[Array, ""]) -> Scalars:
        return (1 + widest(t - 1) * lr_decay,)

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        (total,), (slowing,) = moments, scalars
        total = total + g * g
        return g / (root(total) + eps) / slowing, (total,)

    def start(param: Array) -> Array:
        return jnp.full_like(param, initial_accumulator_value)

    return leafwise(AdagradState, {"sum": start}, leaf, counted(slowing), t=no_updates)
