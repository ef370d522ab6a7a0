"""The objective of a batch whose rows have weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxgd.objective import Loss, Objective


def weighted_mean(loss: Loss) -> Objective:
    """The objective of a batch of (examples, weights [b]): `objective(params, batch) -> scalar`.

        Σ_i w_i loss(params, example_i) / Σ_i w_i,   and w_1 loss(params, example_1) where b = 1

    So a batch divides by its own weight: with weights of one it is `mean(loss)`, and a row of
    weight 0 is as good as left out of it. Of a batch of one row the weight would cancel, and
    nothing would follow from it: there it says how far the row moves the params. A batch that
    weighs nothing at all has the value and the gradient 0, and is an update all the same: momentum,
    decay and an optimizer's count go on, where a table without its rows has no such batch.

    Departs from `mean(loss)`: weights of one add roundings.
    """

    def objective(params: PyTree, batch: tuple[PyTree, Array]) -> Float[Array, ""]:
        examples, weights = batch
        losses = jax.vmap(loss, in_axes=(None, 0))(params, examples)
        weights = weights.astype(losses.dtype)
        total = jnp.sum(weights) if losses.size > 1 else jnp.ones((), losses.dtype)
        return jnp.vdot(weights, losses) / jnp.where(total == 0, 1, total)

    return objective
