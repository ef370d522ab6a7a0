"""Resilient backpropagation, as torch.optim.Rprop."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxgd.optim.leaves import Moments, Scalars, Start, counted, leafwise, no_updates
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_lr,
    check_pair,
    without_kernels,
)
from jaxgd.optim.torch_order import torch_chain


class RpropState(NamedTuple):
    """The updates done and torch's buffers, by torch's names."""

    t: Int[Array, ""]
    prev: optax.Updates
    step_size: optax.Updates


@without_kernels
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

    `lr` is the size of the first step, and of no effect later: of a schedule, its first value. A
    NaN has no sign: such an entry stays where it is, and the next update takes it for the first.

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
    return torch_chain(scale_by_rprop(lr, etas, step_sizes), 1.0, maximize=maximize)


def scale_by_rprop(
    lr: ScalarOrSchedule, etas: tuple[Scalar, Scalar], step_sizes: tuple[Scalar, Scalar]
) -> optax.GradientTransformation:
    """The signed step sign(g) s: see `rprop`."""
    shrink, grow = etas

    def leaf(g: Array, moments: Moments, scalars: Scalars) -> tuple[Array, Moments]:
        del scalars
        prev, size = moments
        agreement = g * prev
        # A choice of clipped sizes, and no clipped choice: XLA would repeat that in the step's
        # kernel, which would read the old size beside the one that overwrites it.
        factor = jnp.where(agreement > 0, *(jnp.asarray(eta, size.dtype) for eta in (grow, shrink)))
        size = jnp.where(
            (agreement > 0) | (agreement < 0),
            jnp.clip(size * factor, *step_sizes),
            jnp.clip(size, *step_sizes),
        )
        g = jnp.where(agreement < 0, jnp.zeros_like(g), g)
        sign = jnp.where(jnp.isnan(g), jnp.zeros_like(g), jnp.sign(g))
        return sign * size, (g, size)

    def first_step(param: Array) -> Array:
        return jnp.full_like(param, at(lr, jnp.zeros([], jnp.int32)))

    moments: dict[str, Start] = {"prev": jnp.zeros_like, "step_size": first_step}
    return leafwise(RpropState, moments, leaf, counted(), t=no_updates)
