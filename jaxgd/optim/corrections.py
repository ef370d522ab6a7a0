"""Bias correction of an exponential average that starts at zero, to full precision."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgd.optim.options import Scalar
from jaxgd.optim.precision import widest


def bias_correction(beta: Scalar, step: Int[Array, ""]) -> Float[Array, ""]:
    """The weight 1 - beta^step that an average of `step` values has gathered.

        -expm1(step · log beta),   log beta in double precision

    In float32 `1 - beta**step` cancels: for beta = 0.999 it is 1e-5 off at the first step, for
    0.9999 1e-4. torch computes it in Python's doubles; so does this, as far as `beta` is a number.

    Departs from torch: nothing beyond rounding.
    """
    return -jnp.expm1(widest(step) * log(beta))


def log(beta: Scalar) -> Scalar:
    """The logarithm of beta, in double precision where beta is a number; -inf at 0."""
    if isinstance(beta, (int, float)):
        return math.log(beta) if beta > 0 else -math.inf
    return jnp.log(jnp.asarray(beta))
