"""A rule said for one leaf, made a transformation of all of them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxgd.optim.options import NO_PARAMS

Scalars: TypeAlias = tuple[Any, ...]
Moments: TypeAlias = tuple[Any, ...]  # of arrays, and None for what is not in use
Start: TypeAlias = Callable[[Array], Array | None]
Advance: TypeAlias = Callable[[Any], tuple[Any, Scalars]]


def leafwise(
    State: Callable[..., Any],
    moments: Mapping[str, Start | None],
    leaf: Callable[..., tuple[Array, Moments]],
    advance: Advance,
    *,
    reads_params: bool = False,
    **counters: Callable[[], Array],
) -> optax.GradientTransformation:
    """The transformation whose state has `moments` for each leaf, and `counters` for all of them.

        state, scalars = advance(state)
        direction, moments = leaf(gradient, moments, scalars)          for each leaf

    `State` is a NamedTuple of counters and moments; a moment of None is absent from the state and
    None in `leaf`. `scalars` are numbers, or arrays that the leaf gets in its own dtype. A leaf
    that `reads_params` has its parameter as a last argument.
    """

    def init(params: optax.Params) -> Any:
        begun = {
            name: None if start is None else jax.tree.map(start, params)
            for name, start in moments.items()
        }
        return State(**{name: start() for name, start in counters.items()}, **begun)

    def update(
        grads: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, Any]:
        if reads_params and params is None:
            raise ValueError(NO_PARAMS)
        state, scalars = advance(state)
        gradients, structure = jax.tree.flatten(grads)
        treedef: Any = structure

        def column(tree: optax.Params | None) -> list[Any]:
            return [None] * len(gradients) if tree is None else treedef.flatten_up_to(tree)

        before = zip(*(column(getattr(state, name)) for name in moments), strict=True)
        read = [(p,) for p in column(params)] if reads_params else [()] * len(gradients)
        moved = [
            leaf(g, of_leaf, _in_dtype_of(g, scalars), *p)
            for g, of_leaf, p in zip(map(jnp.asarray, gradients), before, read, strict=True)
        ]
        after = {
            name: treedef.unflatten([leaves[i] for _, leaves in moved])
            for i, name in enumerate(moments)
            if moments[name] is not None
        }
        return treedef.unflatten([direction for direction, _ in moved]), state._replace(**after)

    return optax.GradientTransformation(init, update)


def no_updates() -> Array:
    """The count of a beginning."""
    return jnp.zeros([], jnp.int32)


def no_scalars(_: Array) -> Scalars:
    """The scalars of a rule without any."""
    return ()


def counted(scalars: Callable[[Array], Scalars] = no_scalars) -> Advance:
    """One update more in the state's `t`, and the scalars of that update; the first is 1."""

    def advance(state: Any) -> tuple[Any, Scalars]:
        t = optax.safe_increment(state.t)
        return state._replace(t=t), scalars(t)

    return advance


def _in_dtype_of(gradient: Array, scalars: Scalars) -> Scalars:
    """The scalars with arrays of floats in the gradient's dtype; numbers and truths as they are."""
    return tuple(
        scalar.astype(gradient.dtype)
        if hasattr(scalar, "dtype") and jnp.issubdtype(scalar.dtype, jnp.floating)
        else scalar
        for scalar in scalars
    )
