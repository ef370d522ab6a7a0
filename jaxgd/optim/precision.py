"""Scalars of an update rule are computed in the widest float, whatever the parameters are."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgd.optim.options import Scalar


def widest(x: Scalar) -> Float[Array, ""]:
    """The scalar in the widest float that is enabled: float64 under x64, otherwise float32."""
    return jnp.asarray(x, jnp.result_type(float))
