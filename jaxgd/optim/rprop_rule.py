"""Resilient backpropagation, as torch.optim.Rprop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import Scalar, ScalarOrSchedule, check, check_lr, check_pair


class RpropState(NamedTuple):
    """Torch's buffers, by torch's names."""

    prev: optax.Updates
    step_size: optax.Updates


def rprop(
    lr: ScalarOrSchedule = 1e-2,
    etas: tuple[Scalar, Scalar] = (0.5, 1.2),
    step_sizes: tuple[Scalar, Scalar] = (1e-6, 50),
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Resilient backpropagation, as `torch.optim.Rprop`: full-batch gradients only.

        a = η⁻ where g · g_prev < 0,  η⁺ where > 0,  else 1
        s ← clip(a s, step_sizes),   s₀ = lr
        g ← 0 where g · g_prev < 0
        p ← p - sign(g) s,   g_prev ← g

    `lr` is the size of the first step, and of no effect later: of a schedule, its first value.

    State: `RpropState`. Raises ValueError unless 0 < etas[0] < 1 < etas[1].

    Departs from torch: nothing, bit for bit, as long as g · g_prev does not underflow: XLA
    flushes subnormal products to 0 (|g| below 1e-19 in float32), where torch keeps their sign.
    """
    check_lr(lr)
    remedy = "torch's default is etas=(0.5, 1.2)."
    check_pair("etas", etas, remedy)
    check_pair("step_sizes", step_sizes, "torch's default is step_sizes=(1e-6, 50).")
    check("etas[0]", etas[0], "in (0, 1)", lambda value: 0 < value < 1, remedy)
    check("etas[1]", etas[1], "above 1", lambda value: value > 1, remedy)
    return optax.chain(
        torch_gradient(0.0, maximize),
        scale_by_rprop(lr, etas, step_sizes),
        scale_by_lr(1.0),
    )


def scale_by_rprop(
    lr: ScalarOrSchedule, etas: tuple[Scalar, Scalar], step_sizes: tuple[Scalar, Scalar]
) -> optax.GradientTransformation:
    """The signed step sign(g) s: see `rprop`."""
    shrink, grow = etas

    def init(params: optax.Params) -> RpropState:
        first_step = lr(jnp.zeros([], jnp.int32)) if callable(lr) else lr
        return RpropState(optax.tree.zeros_like(params), optax.tree.full_like(params, first_step))

    def update(
        grads: optax.Updates, state: RpropState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, RpropState]:
        del params
        turned = jax.tree.map(lambda g, prev: g * prev < 0, grads, state.prev)

        def resize(
            g: Float[Array, "..."], prev: Float[Array, "..."], size: Float[Array, "..."]
        ) -> Float[Array, "..."]:
            agreement = g * prev
            factor = jnp.where(agreement > 0, grow, jnp.where(agreement < 0, shrink, 1.0))
            return jnp.clip(size * factor.astype(size.dtype), *step_sizes)

        step_size = jax.tree.map(resize, grads, state.prev, state.step_size)
        kept = jax.tree.map(lambda g, back: jnp.where(back, 0.0, g), grads, turned)
        directions = jax.tree.map(lambda g, size: jnp.sign(g) * size, kept, step_size)
        return directions, RpropState(kept, step_size)

    return optax.GradientTransformation(init, update)
