"""The learning rate above which a descent on a quadratic diverges."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxgd.optim.corrections import bias_correction


def largest_stable_rate(
    sharpness: Float[ArrayLike, "*any"],
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> Float[Array, "*any"]:
    """The learning rate at which gradient descent on a quadratic of this sharpness stops falling.

        v ← m v + (1 - d) g,   p ← p - lr · (g + m v  if nesterov, else v)

        lr* = 2 (1 + m) / ((1 - d) λ),   with nesterov 2 (1 + m) / ((1 + 2 m) λ)

    So 2/λ for plain descent, and 2 (1 + m)/λ for heavy-ball momentum as PyTorch and optax have it.
    Dampened as d = m the buffer is an average: then, of the sharpness that Adam's preconditioner
    leaves (see `adam_preconditioner`), lr* is Adam's (arXiv 2207.14484, (1)), 38/λ for 0.9.

    Exact for full-batch descent on a quadratic, such as the mean squared error of a linear model,
    whose λ is the same everywhere. Elsewhere it holds as long as λ does. Infinite for λ ≤ 0.

    Raises ValueError for a momentum or dampening outside [0, 1), or nesterov with dampening.
    """
    for name, value in {"momentum": momentum, "dampening": dampening}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1); got {name}={value}.")
    if nesterov and dampening:
        raise ValueError(
            f"nesterov must have no dampening; got dampening={dampening}. Use dampening=0."
        )
    share = 1 + 2 * momentum if nesterov else 1 - dampening
    bend = jnp.asarray(sharpness)
    safe = jnp.where(bend > 0, bend, 1)
    return jnp.where(bend > 0, 2 * (1 + momentum) / (share * safe), jnp.inf)


def adam_preconditioner(
    second_moment: PyTree, t: Any, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> PyTree:
    """The diagonal P that Adam's t-th update divides its averaged gradient by, a tree as params.

        P = (1 - β1^t) (√(v / (1 - β2^t)) + eps)

    `second_moment` is v after t ≥ 1 updates: `exp_avg_sq` of `jaxgd.optim.adam`, `nu` of optax.
    Where v no longer changes, Adam is dampened heavy-ball descent in the metric P, and stable up
    to `largest_stable_rate(sharpness(…, preconditioner=P), momentum=β1, dampening=β1)`.
    Source: arXiv 2207.14484, section 2.
    """
    first, second = (bias_correction(beta, jnp.asarray(t, jnp.int32)) for beta in betas)
    return jax.tree.map(
        lambda v: (first * (jnp.sqrt(v / second) + eps)).astype(v.dtype), second_moment
    )
