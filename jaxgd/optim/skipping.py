"""An optimizer that lets go of updates that are not finite."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree


class SkipNonfiniteState(NamedTuple):
    """How many updates were let go, and the state of the optimizer within."""

    skipped: Int[Array, ""]
    inner_state: Any


def skip_nonfinite(
    inner: optax.GradientTransformation | optax.MultiSteps,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, but for updates of a loss, gradient or result that is not finite.

    Such an update changes neither params nor state; it is counted in `skipped`. The result is
    params + update, and whatever of the state was finite before.

    Departs from optax.apply_if_finite, which looks at the gradient alone (an infinite loss, and a
    step or a second moment that overflows, pass) and after so many updates in a row lets NaN
    through; here none ever does.
    """
    plain = inner.gradient_transformation() if isinstance(inner, optax.MultiSteps) else inner
    within = optax.with_extra_args_support(plain)

    def init(params: PyTree) -> SkipNonfiniteState:
        return SkipNonfiniteState(jnp.zeros((), jnp.int32), within.init(params))

    def update(
        grads: PyTree,
        state: SkipNonfiniteState,
        params: PyTree | None = None,
        *,
        value: Any = 0.0,
        **extra: Any,
    ) -> tuple[PyTree, SkipNonfiniteState]:
        old = state.inner_state
        updates, new = within.update(grads, old, params, value=value, **extra)
        moved = updates if params is None else jax.tree.map(jnp.add, params, updates)
        good = _finite((value, grads, moved)) & _stays_finite(old, new)
        updates = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), updates)
        kept = jax.tree.map(lambda after, before: jnp.where(good, after, before), new, old)
        skipped = state.skipped + jnp.where(good, 0, 1).astype(jnp.int32)
        return updates, SkipNonfiniteState(skipped, kept)

    return optax.GradientTransformationExtraArgs(init, update)


def _finite(tree: PyTree) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _stays_finite(old: PyTree, new: PyTree) -> Array:
    """Whether no number of a state has left the finite ones; some begin at infinity."""

    def stays(before: Any, after: Any) -> Array:
        if not jnp.issubdtype(jnp.asarray(after).dtype, jnp.inexact):
            return jnp.asarray(True)
        return (jnp.isfinite(after) | ~jnp.isfinite(before)).all()

    return jnp.stack([jnp.asarray(True), *jax.tree.leaves(jax.tree.map(stays, old, new))]).all()
