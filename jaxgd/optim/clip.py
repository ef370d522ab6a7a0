"""Gradient clipping, as torch.nn.utils.clip_grad_norm_ and clip_grad_value_."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxgd.optim.moments import norm
from jaxgd.optim.options import Scalar, check


def clip_grad_norm(max_norm: Scalar, norm_type: float = 2.0) -> optax.GradientTransformation:
    """The gradient scaled down to a global norm of `max_norm`, as `torch.nn.utils.clip_grad_norm_`.

        g ← g · min(1, max_norm / (‖g‖_p + 1e-6)),   p = norm_type > 0, or math.inf

    The norm, `grad_norm(grads)`, is that of the leaves' norms. One that is not finite makes every
    leaf NaN or 0, as torch does unless told `error_if_nonfinite`; `optax.apply_if_finite` skips
    such an update.
    max_norm=math.inf clips nothing.

    Raises ValueError for a negative `max_norm`, or a norm type that is not positive.

    Departs from torch: nothing beyond rounding. optax.clip_by_global_norm lacks the 1e-6, and
    knows p = 2 only. torch also takes p = 0 and p < 0, which are no norms.
    """
    _check_limit("max_norm", max_norm)
    if norm_type != math.inf:
        remedy = "Use 2.0, the default, or math.inf for the largest entry."
        check("norm_type", norm_type, "positive", lambda value: value > 0, remedy)

    def clip(grads: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        if not jax.tree.leaves(grads):
            return grads
        total_norm = grad_norm(grads, norm_type)
        scale = jnp.minimum(jnp.asarray(max_norm, total_norm.dtype) / (total_norm + 1e-6), 1.0)
        return jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)

    return optax.stateless(clip)


def grad_norm(grads: optax.Updates, norm_type: float = 2.0) -> Float[Array, ""]:
    """The total norm of a gradient, as `torch.nn.utils.clip_grad_norm_` returns and clips it.

        ‖(‖g_1‖_p, ‖g_2‖_p, …)‖_p,   p = norm_type > 0, or math.inf

    In the widest type of the leaves. Its derivative is 0 where the gradient is.

    Departs from torch: nothing beyond rounding, and no leaves have the norm 0 in float32.
    """
    norms = [_norm(leaf, norm_type) for leaf in jax.tree.leaves(grads)]
    if not norms:
        return jnp.zeros((), jnp.float32)
    widest = max((each.dtype for each in norms), key=lambda dtype: jnp.finfo(dtype).bits)
    return _norm(jnp.stack([each.astype(widest) for each in norms]), norm_type)


def _norm(leaf: Array, norm_type: float) -> Array:
    return norm(leaf) if norm_type == 2 else jnp.linalg.norm(leaf.ravel(), norm_type)


def clip_grad_value(clip_value: Scalar) -> optax.GradientTransformation:
    """The gradient with every entry in [-clip_value, clip_value]: `optax.clip`, with torch's name.

    Raises ValueError for a negative `clip_value`.

    Departs from torch.nn.utils.clip_grad_value_: nothing.
    """
    _check_limit("clip_value", clip_value)
    return optax.clip(clip_value)


def _check_limit(name: str, limit: Scalar) -> None:
    """Raise unless the limit is a number that is not negative, or infinite."""
    if isinstance(limit, float) and limit == math.inf:
        return
    remedy = "Leave the clip out, or use math.inf, for none."
    check(name, limit, "at least 0", lambda value: value >= 0, remedy)
