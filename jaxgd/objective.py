"""The objective of a batch, made of the loss of one example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.layouts import varying_axes

Loss = Callable[[Any, Any], Array]
Objective = Callable[[Any, Any], Any]


def mean(loss: Loss) -> Objective:
    """The objective of a batch of b examples: `objective(params, batch) -> scalar`.

        1/b Σ_i loss(params, batch_i)

    Inside `shard_map` it is the mean over every device that holds rows, so that replicated params
    descend on all of them; params that differ by device (`jax.lax.pcast`) see their own rows only,
    and so do all where `check_vma=False` keeps JAX from knowing.

    Raises ValueError while tracing unless the loss of one example is a scalar.
    """

    def objective(params: PyTree, batch: PyTree) -> Float[Array, ""]:
        losses = jax.vmap(loss, in_axes=(None, 0))(params, batch)
        if jnp.ndim(losses) != 1:
            raise ValueError(
                "loss(params, example) must return a scalar for one example; got shape "
                f"{jnp.shape(losses)[1:]}. Reduce it, or pass descend an objective of the batch."
            )
        value = jnp.mean(losses)
        axes = varying_axes(value) - varying_axes(*jax.tree.leaves(params))
        return jax.lax.pmean(value, tuple(sorted(axes))) if axes else value

    return objective
