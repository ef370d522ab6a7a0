"""Scalars of an update rule are computed in the widest float, whatever the parameters are."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgd.optim.options import Scalar


def widest(x: Scalar) -> Float[Array, ""]:
    """The scalar in the widest float that is enabled: float64 under x64, otherwise float32."""
    return jnp.asarray(x, jnp.result_type(float))


def power(base: Scalar, exponent: Float[Array, ""]) -> Float[Array, ""]:
    """base^exponent, from the logarithm in double precision where the base is a number.

    In float32 a base near 1 has lost digits before it is raised: powers of 0.9999 are 6e-5 off.
    """
    if isinstance(base, (int, float)) and base > 0:
        return jnp.exp(exponent * math.log(base))
    return widest(base) ** exponent
