"""Schedule-free SGD and AdamW, as the package schedulefree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.corrections import bias_correction
from jaxgd.optim.leaves import Moments, Scalars, Start, leafwise, no_updates
from jaxgd.optim.moments import average_of_squares, lerp, root
from jaxgd.optim.options import (
    Scalar,
    ScalarOrSchedule,
    at,
    check,
    check_betas,
    check_lr,
    check_non_negative,
    is_static_zero,
)
from jaxgd.optim.precision import widest


class ScheduleFreeState(NamedTuple):
    """The updates done, the package's scalars and its buffers; `exp_avg_sq` is None for SGD."""

    t: Int[Array, ""]
    lr_max: Float[Array, ""]
    weight_sum: Float[Array, ""]
    z: optax.Params
    exp_avg_sq: optax.Updates | None


def schedule_free_sgd(
    lr: ScalarOrSchedule = 1.0,
    momentum: float = 0.9,
    weight_decay: Scalar = 0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> optax.GradientTransformation:
    """Schedule-free SGD, as `schedulefree.SGDScheduleFree` in train mode.

        γ = lr · min(1, t / warmup_steps),   w = t^r · (largest γ so far)^weight_lr_power
        c = w / Σ w,   g ← g + λ y
        y ← y + c (z - y) + γ (β (1 - c) - 1) g,   β = momentum
        z ← z - γ g,   z₀ = y₀

    The params are y, where gradients are taken; the answer is x: `averaged_params`.

    State: `ScheduleFreeState`. Raises ValueError for an option out of its range.

    Source: The road less scheduled (Defazio et al., 2024).
    Departs from schedulefree: nothing beyond rounding. optax.contrib.schedule_free_sgd warms up
    from a rate of 0 instead of lr / warmup_steps, and knows no r.
    """
    _check_momentum("momentum", momentum)

    def scale(t: Int[Array, ""]) -> Scalars:
        del t
        return ()

    def direction(g: Array, v: Any, scalars: Scalars) -> tuple[Array, Any]:
        del scalars
        return g, v

    free = _Free(lr, momentum, weight_decay, warmup_steps, r, weight_lr_power)
    return schedule_free(free, direction, scale, squares=False)


def schedule_free_adamw(
    lr: ScalarOrSchedule = 0.0025,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> optax.GradientTransformation:
    """Schedule-free AdamW, as `schedulefree.AdamWScheduleFree` in train mode.

        v ← β2 v + (1 - β2) g²
        g ← g / (√(v / (1 - β2^t)) + eps) + λ y,   then as `schedule_free_sgd`, β = β1

    State: `ScheduleFreeState`. Raises ValueError for an option out of its range.

    Source: The road less scheduled (Defazio et al., 2024).
    Departs from schedulefree: nothing beyond rounding. optax.contrib.schedule_free_adamw warms up
    from a rate of 0 instead of lr / warmup_steps, and knows no r.
    """
    check_betas(betas)
    _check_momentum("betas[0]", betas[0])
    check_non_negative(eps=eps)

    def scale(t: Int[Array, ""]) -> Scalars:
        return (bias_correction(betas[1], t),)

    def direction(g: Array, v: Array, scalars: Scalars) -> tuple[Array, Array]:
        v = average_of_squares(v, g, betas[1])
        return g / (root(v / scalars[0]) + eps), v

    free = _Free(lr, betas[0], weight_decay, warmup_steps, r, weight_lr_power)
    return schedule_free(free, direction, scale, squares=True)


def averaged_params(params: optax.Params, state: optax.OptState, momentum: float) -> optax.Params:
    """The answer x of a schedule-free optimizer, what the package's `.eval()` puts into the module.

        x = y + (1 - 1/β) (z - y),   β the momentum, or betas[0]

    Departs from schedulefree: nothing beyond rounding.
    """
    z: Any = optax.tree.get(state, "z")
    return jax.tree.map(lambda y, z: lerp(y, z, jnp.asarray(1 - 1 / momentum, y.dtype)), params, z)


class _Free(NamedTuple):
    """The options that both have."""

    lr: ScalarOrSchedule
    momentum: float
    weight_decay: Scalar
    warmup_steps: int
    r: float
    weight_lr_power: float


def schedule_free(
    free: _Free,
    direction: Callable[[Array, Any, Scalars], tuple[Array, Any]],
    scale: Callable[[Int[Array, ""]], Scalars],
    *,
    squares: bool,
) -> optax.GradientTransformation:
    """The change of y, for a direction of the gradient and its squares: see `schedule_free_sgd`."""
    check_lr(free.lr)
    check_non_negative(weight_decay=free.weight_decay, warmup_steps=free.warmup_steps)

    def advance(state: Any) -> tuple[Any, Scalars]:
        t = optax.safe_increment(state.t)
        warm = jnp.minimum(widest(t) / max(free.warmup_steps, 1), 1.0)
        rate = widest(at(free.lr, state.t)) * warm
        lr_max = jnp.maximum(state.lr_max, rate)
        weight = widest(t) ** free.r * lr_max**free.weight_lr_power
        total = state.weight_sum + weight
        share = jnp.where(total == 0, 0.0, weight / jnp.where(total == 0, 1.0, total))
        pull = rate * (free.momentum * (1 - share) - 1)
        return state._replace(t=t, lr_max=lr_max, weight_sum=total), (rate, share, pull, *scale(t))

    def leaf(g: Array, moments: Moments, scalars: Scalars, y: Array) -> tuple[Array, Moments]:
        z, v = moments
        rate, share, pull, *rest = scalars
        g, v = direction(g, v, tuple(rest))
        g = g if is_static_zero(free.weight_decay) else g + free.weight_decay * y
        return lerp(y, z, share) + pull * g - y, (z - rate * g, v)

    def none() -> Array:
        return widest(0.0)

    moments: dict[str, Start | None] = {
        "z": jnp.copy,
        "exp_avg_sq": jnp.zeros_like if squares else None,
    }
    return leafwise(
        ScheduleFreeState,
        moments,
        leaf,
        advance,
        reads_params=True,
        t=no_updates,
        lr_max=none,
        weight_sum=none,
    )


def _check_momentum(name: str, momentum: float) -> None:
    remedy = "The package's default is 0.9."
    check(name, momentum, "in (0, 1)", lambda value: 0 < value < 1, remedy)
