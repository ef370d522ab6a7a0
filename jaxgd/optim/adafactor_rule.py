"""Adafactor, as torch.optim.Adafactor."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.leaves import Moments, Scalars, Start, counted, leafwise, no_updates
from jaxgd.optim.moments import lerp, norm, root
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check,
    check_lr,
    check_non_negative,
    check_pair,
    without_kernels,
)
from jaxgd.optim.precision import widest
from jaxgd.optim.torch_order import torch_chain


class AdafactorState(NamedTuple):
    """The updates done and torch's buffers: each leaf has row_var and col_var, or variance."""

    t: Int[Array, ""]
    row_var: optax.Updates
    col_var: optax.Updates
    variance: optax.Updates


@without_kernels
def adafactor(
    lr: ScalarOrSchedule = 1e-2,
    beta2_decay: Scalar = -0.8,
    eps: tuple[Scalar | None, Scalar] = (None, 1e-3),
    d: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adafactor, as `torch.optim.Adafactor`.

        p ← p (1 - lr λ),   g ← ±g,   w = t^beta2_decay,   ε₁, ε₂ = eps
        V ← V + w (g² - V)                                            for vectors and scalars
        R ← R + w (mean_columns(g²) - R),  C ← C + w (mean_rows(g²) - C),
        V = R Cᵀ / max(mean(R), ε₁)                                   for the last two axes
        u = g / √max(V, ε₁²)
        p ← p - min(lr, 1/√t) · max(ε₂, rms(p)) · u / max(1, rms(u) / d)

    with rms(p) from before the decay. ε₁ = None is the machine epsilon of the parameter's dtype.

    State: `AdafactorState`. Raises ValueError for an option out of its range.

    Source: Adafactor (Shazeer & Stern, 2018).
    Departs from torch: nothing beyond rounding.
    """
    check_lr(lr)
    check_non_negative(weight_decay=weight_decay)
    check_pair("eps", eps, "torch's default is eps=(None, 1e-3).")
    for index, value in enumerate(eps):
        if value is not None:
            check_non_negative(**{f"eps[{index}]": value})
    check("beta2_decay", beta2_decay, "at most 0", lambda value: value <= 0, "Use -0.8.")
    remedy = "Use d=1, torch's default, or math.inf for no clip."
    check("d", d, "at least 1", lambda value: value >= 1, remedy, infinite=True)
    return torch_chain(
        scale_by_adafactor(beta2_decay, eps, d),
        lr,
        weight_decay,
        decoupled=True,
        maximize=maximize,
        limit=relative,
    )


def relative(rate: Float[Array, ""], count: Int[Array, ""]) -> Float[Array, ""]:
    """The rate, but at most 1/√t at the update t = count + 1."""
    return jnp.minimum(rate, 1.0 / jnp.sqrt(widest(count + 1)))


def scale_by_adafactor(
    beta2_decay: Scalar, eps: tuple[Scalar | None, Scalar], d: Scalar
) -> optax.GradientTransformation:
    """The direction of `adafactor`: what, times -min(lr, 1/√t), is its last line."""

    def weight(t: Int[Array, ""]) -> Scalars:
        return (widest(t) ** beta2_decay,)

    def leaf(g: Array, moments: Moments, scalars: Scalars, p: Array) -> tuple[Array, Moments]:
        row, col, variance = moments
        (w,) = scalars
        eps1, eps2 = jnp.finfo(p.dtype).eps if eps[0] is None else eps[0], eps[1]
        square = g * g
        if row is not None and col is not None:
            row = lerp(row, square.mean(-1, keepdims=True), w)
            col = lerp(col, square.mean(-2, keepdims=True), w)
            estimate = row @ col / jnp.maximum(row.mean(-2, keepdims=True), eps1)
        else:
            assert variance is not None
            estimate = variance = lerp(variance, square, w)
        # As max(estimate, ε₁²) under the root, whose ε₁² may underflow.
        direction = g / jnp.maximum(root(estimate), eps1)
        size = jnp.maximum(eps2, _rms(p)) / jnp.maximum(1.0, _rms(direction) / d)
        return size * direction, (row, col, variance)

    def zeros(axis: int) -> Start:
        return lambda p: jnp.zeros_like(p.sum(axis, keepdims=True)) if p.ndim > 1 else None

    moments = {
        "row_var": zeros(-1),
        "col_var": zeros(-2),
        "variance": lambda p: None if p.ndim > 1 else jnp.zeros_like(p),
    }
    return leafwise(AdafactorState, moments, leaf, counted(weight), reads_params=True, t=no_updates)


def _rms(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The root mean square of all entries."""
    return norm(x) / x.size**0.5
