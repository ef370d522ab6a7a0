"""What every rule is made of: averages in torch's order of multiplication, and a root that is
safe to differentiate."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def average(
    last: Float[Array, "..."], value: Float[Array, "..."], decay: Any
) -> Float[Array, "..."]:
    """The exponential average with one value more: decay · last + (1 - decay) · value."""
    return (1 - decay) * value + decay * last


def average_of_squares(
    last: Float[Array, "..."], value: Float[Array, "..."], decay: Any
) -> Float[Array, "..."]:
    """The exponential average of squares: decay · last + ((1 - decay) · value) · value.

    In torch's order, which is finite where value² is not: in float32, with a decay of 0.999, up to
    values of 5e20 instead of 1.8e19. One that overflows is never forgotten.
    """
    return (1 - decay) * value * value + decay * last


def lerp(
    last: Float[Array, "..."], value: Float[Array, "..."], weight: Float[Array, ""]
) -> Float[Array, "..."]:
    """torch's lerp: from the nearer end, so that a weight of 1 forgets without a trace."""
    way = value - last
    return jnp.where(weight < 0.5, last + weight * way, value - (1 - weight) * way)


@jax.custom_jvp
def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """√x, with the derivative 0 at 0 instead of ∞.

    There a moment has seen no gradient but 0, and what is divided by the root is 0 too.
    """
    return jnp.sqrt(x)


@root.defjvp
def _root_derivative(
    primals: tuple[Float[Array, "..."]], tangents: tuple[Float[Array, "..."]]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    (x,), (change,) = primals, tangents
    y = root(x)
    return y, jnp.where(y == 0, jnp.zeros_like(y), change / (2 * jnp.where(y == 0, 1, y)))


def norm(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The Euclidean norm of all entries, with the derivative 0 where all are 0."""
    return root(jnp.sum(x * x))
