"""Small models of one example: `init_…(…) -> params`, `apply(params, x)`."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgd.inputs import check_count
from jaxgd.keys import Key


class Linear(NamedTuple):
    """Parameters of an affine map: weights w [d] and bias b [] (or none), or w [d, k] and b [k]."""

    w: Float[Array, "d *k"]
    b: Float[Array, "*k"] | None


def init_linear(
    n_features: int,
    n_outputs: int | None = None,
    *,
    key: Key | None = None,
    dtype: jax.typing.DTypeLike | None = None,
) -> Linear:
    """Parameters of a linear model: zeros, or with a key torch.nn.Linear's uniform draw.

        w, b ~ Uniform(-1/√d, 1/√d)

    `n_outputs=None` gives w [d] and a scalar b; a number k gives w [d, k] and b [k].

    Departs from torch.nn.Linear: the same distribution, but other numbers for a seed.
    """
    n_features = check_count("n_features", n_features)
    outputs = () if n_outputs is None else (check_count("n_outputs", n_outputs),)
    dtype = dtype or jnp.zeros(()).dtype
    if key is None:
        return Linear(jnp.zeros((n_features, *outputs), dtype), jnp.zeros(outputs, dtype))
    bound = n_features**-0.5
    w_key, b_key = jax.random.split(key)
    w = jax.random.uniform(w_key, (n_features, *outputs), dtype, -bound, bound)
    return Linear(w, jax.random.uniform(b_key, outputs, dtype, -bound, bound))


def linear(params: Linear, x: Float[Array, "d"]) -> Float[Array, "*k"]:
    """The affine prediction of one example: xᵀw + b."""
    return jnp.dot(x, params.w) + (0 if params.b is None else params.b)


def logistic(params: Linear, x: Float[Array, "d"]) -> Float[Array, "*k"]:
    """The probability of label 1 for one example: 1 / (1 + exp(-(xᵀw + b)))."""
    return jax.nn.sigmoid(linear(params, x))


def init_mlp(
    key: Key, sizes: Sequence[int], *, dtype: jax.typing.DTypeLike | None = None
) -> tuple[Linear, ...]:
    """Parameters of a multi-layer perceptron, one `init_linear(…, key=…)` a layer.

    `sizes` is (d, hidden, …, k): at least one input and one output width.
    """
    if len(sizes) < 2:
        raise ValueError(
            f"sizes must name an input and an output width; got {tuple(sizes)}. "
            "Use (n_features, hidden, n_outputs)."
        )
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        init_linear(d, k, key=layer_key, dtype=dtype)
        for layer_key, (d, k) in zip(keys, pairwise(sizes), strict=True)
    )


def mlp(
    params: Sequence[Linear],
    x: Float[Array, "d"],
    activation: Callable[[Array], Array] = jnp.tanh,
) -> Float[Array, "k"]:
    """The outputs of a multi-layer perceptron for one example; the last layer is affine."""
    for layer in params[:-1]:
        x = activation(linear(layer, x))
    return linear(params[-1], x)
