"""Which parameters take part: torch's `grad is None`, and parameters that join in mid-run."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from jaxgd.optim.options import NO_PARAMS


def per_parameter(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer with a state for each parameter, which is skipped where it has no gradient.

        updates, state = optimizer.update(grads, state, params)             None for a gradient
        updates, state = optimizer.update(grads, state, params, present=present)

    A parameter whose gradient is None stays, without decay, and so do its buffers and its own count
    of updates, as in torch. `present`, a tree of booleans like params, says so of a traced
    update. A number of the optimizer's in which parameters meet, such as a clip's norm, belongs
    around it; a schedule counts the updates of its parameter.

    State: an optax.PartitionState with a part for each leaf, by its path.

    Raises ValueError without params.

    Departs from torch: nothing; but torch's schedulers count all updates.
    """

    def parted(params: optax.Params) -> optax.GradientTransformationExtraArgs:
        labels = _paths(params)
        transforms = dict.fromkeys(jax.tree.leaves(labels), optimizer)
        return optax.partition(transforms, labels, mask_compatible_extra_args=True)

    def init(params: optax.Params) -> optax.OptState:
        return parted(params).init(params)

    def update(
        grads: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        present: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        if params is None:
            raise ValueError(NO_PARAMS)
        treedef: Any = jax.tree.structure(params)
        given = treedef.flatten_up_to(grads)
        told = [True] * len(given) if present is None else treedef.flatten_up_to(present)
        takes = [False if g is None else each for g, each in zip(given, told, strict=True)]
        filled = [
            jnp.zeros_like(p) if g is None else g
            for g, p in zip(given, jax.tree.leaves(params), strict=True)
        ]
        updates, moved = parted(params).update(
            treedef.unflatten(filled), state, params, **extra_args
        )
        parts = {
            label: _either(part, moved.inner_states[label], state.inner_states[label])
            for label, part in zip(jax.tree.leaves(_paths(params)), takes, strict=True)
        }
        stays = [
            _either(part, u, jnp.zeros_like(u))
            for part, u in zip(takes, treedef.flatten_up_to(updates), strict=True)
        ]
        return treedef.unflatten(stays), moved._replace(inner_states=parts)

    return optax.GradientTransformationExtraArgs(init, update)


def carry_over(state: optax.OptState, started: optax.OptState) -> optax.OptState:
    """The state of a beginning, with the numbers of another wherever that has the same place.

        optimizer = optax.partition({…, "new": sgd(lr=0.1)}, labels)
        state = carry_over(state, optimizer.init(params))

    as torch's `add_param_group` in mid-run: what `state` holds goes on, and what is new in
    `started` starts at its first update. A place is a path: parts of a partition by their label.

    Raises ValueError where a number of `state` has no place in `started`, or one of another shape.
    """
    known = dict(jax.tree_util.tree_leaves_with_path(state))
    places, treedef = jax.tree_util.tree_flatten_with_path(started)
    lost = set(known) - {path for path, _ in places}
    moved = [
        path for path, leaf in places if path in known and jnp.shape(known[path]) != jnp.shape(leaf)
    ]
    if lost or moved:
        (first, *_) = sorted(map(jax.tree_util.keystr, lost or moved))
        raise ValueError(
            "started must have a place for every number of state; got "
            f"{'none' if lost else 'another shape'} for state{first}. "
            "Give the optimizer a part, in optax.partition, for the parameters it had before."
        )
    return jax.tree.unflatten(treedef, [known.get(path, leaf) for path, leaf in places])


def _paths(params: optax.Params) -> PyTree:
    """The path of each leaf, in its place."""
    return jax.tree_util.tree_map_with_path(lambda path, _: jax.tree_util.keystr(path), params)


def _either(condition: Any, after: PyTree, before: PyTree) -> PyTree:
    """The one tree or the other, chosen now where the condition is known."""
    if isinstance(condition, bool):
        return after if condition else before
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), after, before)
