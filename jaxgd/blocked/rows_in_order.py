"""Rows of a linear predictor one after another, with plain SGD's update."""

from collections.abc import Callable

from jaxtyping import Array, Float

from jaxgd.linear_row import dot_in_lanes

Weights = tuple[Float[Array, "d"], Float[Array, ""]]
Data = tuple[Float[Array, "n d"], Array]
Slope = Callable[[Array, Array], Array]


def row(
    slope: Slope,
    rate: Array,
    decay: Array,
    weights: Weights,
    example: tuple[Float[Array, "d"], Array],
) -> tuple[Weights, Float[Array, ""]]:
    """The weights after one row, and its logit before its update."""
    (w, b), (x, y) = weights, example
    z = dot_in_lanes(x, w) + b
    g = rate * slope(z, y)
    return (decay * w - g * x, decay * b - g), z
