"""Averaged parameters, as torch.optim.swa_utils.AveragedModel keeps them."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxgd.optim.moments import lerp
from jaxgd.optim.options import Scalar, check
from jaxgd.optim.precision import widest


def exponential_average(
    averaged: optax.Params, params: optax.Params, n: Scalar, decay: Scalar = 0.999
) -> optax.Params:
    """The parameters averaged with a decay, as `get_ema_multi_avg_fn(decay)` does.

        a ← p at the first, n = 0;   then a + (1 - decay) · (p - a)

    `n` is how often the average has been updated. The form matters in float32: with a decay of
    0.9999, decay · a + (1 - decay) · p rounds a whole `a` at every update.

    Raises ValueError unless decay is in [0, 1].

    Departs from torch.optim.swa_utils: nothing beyond rounding.
    """
    remedy = "torch's default is decay=0.999."
    check("decay", decay, "in [0, 1]", lambda value: 0 <= value <= 1, remedy)
    return _moved(averaged, params, n, widest(1 - decay))


def uniform_average(averaged: optax.Params, params: optax.Params, n: Scalar) -> optax.Params:
    """The mean of all parameters so far, as `get_swa_multi_avg_fn()` does: `AveragedModel`'s own.

        a ← p at the first, n = 0;   then a + (p - a) / (n + 1)

    `n` is how often the average has been updated.

    Departs from torch.optim.swa_utils: nothing beyond rounding.
    """
    return _moved(averaged, params, n, 1 / (widest(n) + 1))


def _moved(averaged: optax.Params, params: optax.Params, n: Scalar, weight: Array) -> optax.Params:
    """The average moved by a weight towards the parameters; the first is a copy of them."""

    def leaf(a: Array, p: Array) -> Array:
        return jnp.where(jnp.asarray(n) == 0, p, lerp(a, p, weight.astype(a.dtype)))

    return jax.tree.map(leaf, averaged, params)
