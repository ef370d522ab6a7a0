"""The mean loss over a plane of params."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

from jaxgd.objective import Loss
from jaxgd.study.short_runs import mean_of


def loss_surface(
    loss: Loss,
    data: PyTree,
    at: Callable[[Any, Any], PyTree],
    first: Float[Array, "u"],
    second: Float[Array, "v"],
) -> Float[Array, "v u"]:
    """The mean loss of all rows on a grid: entry [j, i] is at params `at(first[i], second[j])`.

    Of a linear model of one feature `at` is `lambda w, b: Linear(w[None], b)`. A row of the grid is
    worked out at a time.
    """

    def row(v: Array) -> Float[Array, "u"]:
        return jax.vmap(lambda u: mean_of(loss, at(u, v), data))(first)

    return jax.lax.map(row, second)
