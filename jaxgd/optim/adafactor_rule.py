"""Adafactor, as torch.optim.Adafactor."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.gradient import torch_gradient
from jaxgd.optim.learning_rate import scale_by_lr
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    check,
    check_lr,
    check_non_negative,
    check_pair,
)
from jaxgd.optim.precision import widest


class AdafactorState(NamedTuple):
    """The updates done and torch's buffers: each leaf has row_var and col_var, or variance."""

    t: Int[Array, ""]
    row_var: optax.Updates
    col_var: optax.Updates
    variance: optax.Updates


class _Leaf(NamedTuple):
    """What one update makes of one leaf."""

    direction: Array
    row_var: Array | None
    col_var: Array | None
    variance: Array | None


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
    check("d", d, "at least 1", lambda value: value >= 1, "Use d=1, torch's default.")
    return optax.chain(
        torch_gradient(0.0, maximize),
        scale_by_adafactor(lr, beta2_decay, eps, d),
        scale_by_lr(lr, weight_decay),
    )


def scale_by_adafactor(
    lr: ScalarOrSchedule, beta2_decay: Scalar, eps: tuple[Scalar | None, Scalar], d: Scalar
) -> optax.GradientTransformation:
    """The direction of `adafactor`: what, times -lr, is its last line."""

    def init(params: optax.Params) -> AdafactorState:
        def zeros(leaf: Array, axis: int) -> Array | None:
            return jnp.zeros_like(leaf.sum(axis, keepdims=True)) if leaf.ndim > 1 else None

        return AdafactorState(
            t=jnp.zeros([], jnp.int32),
            row_var=jax.tree.map(lambda p: zeros(p, -1), params),
            col_var=jax.tree.map(lambda p: zeros(p, -2), params),
            variance=jax.tree.map(lambda p: None if p.ndim > 1 else jnp.zeros_like(p), params),
        )

    def update(
        grads: optax.Updates, state: AdafactorState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AdafactorState]:
        if params is None:
            raise ValueError(optax.base.NO_PARAMS_MSG)
        rate = widest(lr(state.t) if callable(lr) else lr)
        t = optax.safe_increment(state.t)
        weight = widest(t) ** beta2_decay
        relative_rate = jnp.minimum(1.0, 1.0 / (rate * jnp.sqrt(widest(t))))

        def moved(average: Array, value: Array) -> Array:
            """torch's lerp: from the nearer end, so that a weight of 1 forgets without a trace."""
            w, way = weight.astype(value.dtype), value - average
            return jnp.where(w < 0.5, average + w * way, value - (1 - w) * way)

        def leaf(
            g: Array, p: Array, row: Array | None, col: Array | None, variance: Array | None
        ) -> _Leaf:
            eps1, eps2 = jnp.finfo(p.dtype).eps if eps[0] is None else eps[0], eps[1]
            square = jnp.square(g)
            if row is not None and col is not None:
                row = moved(row, square.mean(-1, keepdims=True))
                col = moved(col, square.mean(-2, keepdims=True))
                estimate = row @ col / jnp.maximum(row.mean(-2, keepdims=True), eps1)
            else:
                assert variance is not None
                estimate = variance = moved(variance, square)
            direction = g * jax.lax.rsqrt(jnp.maximum(estimate, eps1 * eps1))
            size = jnp.maximum(eps2, _rms(p)) * relative_rate.astype(p.dtype)
            direction *= size / jnp.maximum(1.0, _rms(direction) / d)
            return _Leaf(direction, row, col, variance)

        leaves = jax.tree.map(leaf, grads, params, state.row_var, state.col_var, state.variance)
        directions, *buffers = (
            jax.tree.map(lambda _, of_leaf, i=i: of_leaf[i], grads, leaves) for i in range(4)
        )
        return directions, AdafactorState(t, *buffers)

    return optax.GradientTransformation(init, update)


def _rms(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The root mean square of all entries."""
    return jnp.linalg.norm(x.ravel()) / x.size**0.5
