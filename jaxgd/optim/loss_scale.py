"""The loss scale of half-precision training, as torch.amp.GradScaler moves it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgd.optim.learning_rate import LearningRateState
from jaxgd.optim.options import check


class LossScaleState(NamedTuple):
    """The scale of the next loss, the updates since it moved, and the optimizer's state."""

    scale: Float[Array, ""]
    growth_tracker: Int[Array, ""]
    inner_state: optax.OptState


def with_loss_scale(
    optimizer: optax.GradientTransformation,
    init_scale: float = 2.0**16,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer over gradients of a scaled loss, as `torch.amp.GradScaler`.

        g ← g / scale
        if all g are finite: an update; scale · growth_factor after growth_interval of them in a row
        else: parameters and state stay, and scale · backoff_factor

    The loss is scaled by the caller: `scale = optax.tree.get(state, "scale")`. A schedule counts
    the skipped updates too, as torch's does where scheduler.step() follows every scaler.update();
    the optimizer's own count, as in Adam's bias correction, does not.

    State: `LossScaleState`. Raises ValueError for an option out of its range.

    Departs from torch.amp.GradScaler: nothing; a scale that would overflow float32 stays.
    """
    for name, value in {"init_scale": init_scale, "growth_interval": growth_interval}.items():
        check(name, value, "positive", lambda v: v > 0, "torch's are 65536 and 2000.")
    check("growth_factor", growth_factor, "above 1", lambda v: v > 1, "torch's is 2.")
    check("backoff_factor", backoff_factor, "in (0, 1)", lambda v: 0 < v < 1, "torch's is 0.5.")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: optax.Params) -> LossScaleState:
        scale = jnp.asarray(init_scale, jnp.float32)
        return LossScaleState(scale, jnp.zeros([], jnp.int32), optimizer.init(params))

    def update(
        grads: optax.Updates,
        state: LossScaleState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LossScaleState]:
        inverse = 1.0 / state.scale
        grads = jax.tree.map(lambda g: g * inverse.astype(g.dtype), grads)
        finite = jnp.array(True)
        for leaf in jax.tree.leaves(grads):
            finite &= jnp.isfinite(leaf).all()
        updates, moved = inner.update(grads, state.inner_state, params, **extra_args)
        skipped = _schedules_counted(state.inner_state)
        grown = state.growth_tracker + 1 == growth_interval
        larger = state.scale * jnp.where(grown, growth_factor, 1.0).astype(jnp.float32)
        larger = jnp.where(jnp.isfinite(larger), larger, state.scale)
        smaller = state.scale * jnp.float32(backoff_factor)
        return (
            jax.tree.map(lambda u: jnp.where(finite, u, jnp.zeros_like(u)), updates),
            LossScaleState(
                scale=jnp.where(finite, larger, smaller),
                growth_tracker=jnp.where(finite & ~grown, state.growth_tracker + 1, 0),
                inner_state=jax.tree.map(lambda a, b: jnp.where(finite, a, b), moved, skipped),
            ),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _schedules_counted(state: optax.OptState) -> optax.OptState:
    """The state with one update more in what schedules count, and in nothing else."""

    def is_count(part: object) -> bool:
        return isinstance(part, LearningRateState)

    def counted(part: Any) -> Any:
        return LearningRateState(optax.safe_increment(part.step)) if is_count(part) else part

    return jax.tree.map(counted, state, is_leaf=is_count)
