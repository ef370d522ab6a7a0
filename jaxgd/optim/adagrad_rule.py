"""Adagrad, as torch.optim.Adagrad."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import Scalar, ScalarOrSchedule, check_lr, check_non_negative
from jaxgd.optim.precision import widest


class AdagradState(NamedTuple):
    """The updates done and torch's buffer, by torch's name."""

    t: Int[Array, ""]
    sum: optax.Updates


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
    return optax.chain(
        torch_gradient(weight_decay, maximize),
        scale_by_adagrad(lr_decay, initial_accumulator_value, eps),
        scale_by_lr(lr),
    )


def scale_by_adagrad(
    lr_decay: Scalar, initial_accumulator_value: Scalar, eps: Scalar
) -> optax.GradientTransformation:
    """The direction g / (√s + eps) / (1 + (t - 1) lr_decay): see `adagrad`."""

    def init(params: optax.Params) -> AdagradState:
        start = optax.tree.full_like(params, initial_accumulator_value)
        return AdagradState(jnp.zeros([], jnp.int32), start)

    def update(
        grads: optax.Updates, state: AdagradState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdagradState]:
        del params
        total = jax.tree.map(lambda g, s: s + jnp.square(g), grads, state.sum)
        slowing = 1 + widest(state.t) * lr_decay

        def direction(g: Float[Array, "..."], s: Float[Array, "..."]) -> Float[Array, "..."]:
            return g / (jnp.sqrt(s) + eps) / slowing.astype(g.dtype)

        directions = jax.tree.map(direction, grads, total)
        return directions, AdagradState(optax.safe_increment(state.t), total)

    return optax.GradientTransformation(init, update)
