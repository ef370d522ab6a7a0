"""Losses of one example. `vmap` makes the batch, the mean makes the objective."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

Label = Real[ArrayLike, ""] | Bool[ArrayLike, ""]


@dataclass(frozen=True)
class Supervised:
    """The loss of an example, in the parts it is made of: see `supervised`."""

    predict: Callable[[Any, Any], Array]
    loss: Callable[[Array, Any], Array]

    def __call__(self, params: Any, example: Any) -> Array:
        """The loss of the example (x, y)."""
        return self.loss(self.predict(params, example[0]), example[1])


def supervised(
    predict: Callable[[Any, Any], Array], loss: Callable[[Array, Any], Array]
) -> Supervised:
    """The loss of an example (x, y): `loss(predict(params, x), y)`."""
    return Supervised(predict, loss)


@jax.custom_jvp
def _bernoulli_nats(probability: Array, label: Array) -> Array:
    log_p = jnp.maximum(jnp.log(probability), -100)
    log_q = jnp.maximum(jnp.log1p(-probability), -100)
    return -(label * log_p + (1 - label) * log_q)


@partial(_bernoulli_nats.defjvp, symbolic_zeros=True)
def _bernoulli_nats_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """The slope torch uses: finite at p = 0 and 1, where the clamp alone would give NaN."""
    p, y = primals
    log_p = jnp.maximum(jnp.log(p), -100)
    log_q = jnp.maximum(jnp.log1p(-p), -100)
    # torch's constant is a float32 in every precision.
    slope = (p - y) / jnp.maximum(p * (1 - p), float(np.float32(1e-12)))
    return _bernoulli_nats(p, y), _along(tangents, slope, log_q - log_p)


def binary_cross_entropy(probability: Float[ArrayLike, ""], label: Label) -> Float[Array, ""]:
    """Cross entropy of one label in [0, 1] under a Bernoulli probability, in nats.

        -(y log p + (1 - y) log(1 - p)),   each log clamped at -100

    with torch's gradient, (p - y) / max(p (1 - p), 1e-12).

    Departs from torch.nn.functional.binary_cross_entropy: the gradient of the label,
    log(1 - p) - log p, is clamped as the value is, where torch's is infinite at p = 0 and 1; and a
    probability outside [0, 1] is not refused.
    """
    p = _floating("probability", probability)
    return _bernoulli_nats(p, jnp.asarray(label, p.dtype))


@jax.custom_jvp
def _logistic_nats(logit: Array, label: Array) -> Array:
    return jnp.maximum(logit, 0) - logit * label + jnp.log1p(jnp.exp(-jnp.abs(logit)))


@partial(_logistic_nats.defjvp, symbolic_zeros=True)
def _logistic_nats_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """One exponential, shared with the value, and no terms that cancel."""
    z, y = primals
    return _logistic_nats(z, y), _along(tangents, jax.nn.sigmoid(z) - y, -z)


def _along(moves: tuple, *slopes: Array) -> Array:
    """Σ slope · move, without those known to be zero, which jax 0.12 puts on no mesh."""
    terms = [s * t for s, t in zip(slopes, moves, strict=True) if not isinstance(t, SymbolicZero)]
    return sum(terms[1:], terms[0])


def binary_cross_entropy_with_logits(logit: Float[ArrayLike, ""], label: Label) -> Float[Array, ""]:
    """Cross entropy of one label in [0, 1] under the Bernoulli of a logit, in nats.

        max(z, 0) - z y + log(1 + exp(-|z|)),   gradient sigmoid(z) - y

    Departs from torch.nn.functional.binary_cross_entropy_with_logits: nothing, gradients
    included. It does not clamp: z = -200 with y = 1 costs 200.
    """
    z = _floating("logit", logit)
    return _logistic_nats(z, jnp.asarray(label, z.dtype))


def squared_error(
    prediction: Float[ArrayLike, "*shape"], target: Real[ArrayLike, "*shape"]
) -> Float[Array, ""]:
    """Squared error of one prediction, averaged over its components.

        mean_j (prediction_j - target_j)²

    Raises ValueError if their shapes differ.
    Departs from torch.nn.functional.mse_loss: shapes are not broadcast, and the target takes the
    prediction's dtype where torch promotes both.
    """
    prediction = _floating("prediction", prediction)
    if prediction.shape != jnp.shape(target):
        raise ValueError(
            f"prediction and target must have one shape; got {prediction.shape} and "
            f"{jnp.shape(target)}. Give labels the shape (n,) for a model of one output."
        )
    return jnp.mean(jnp.square(prediction - jnp.asarray(target, prediction.dtype)))


def cross_entropy(logits: Float[Array, "k"], label: Int[ArrayLike, ""]) -> Float[Array, ""]:
    """Cross entropy of one class index in [0, k) under the softmax of k logits, in nats.

        log Σ_j exp(z_j) - z_label

    Source: optax.losses.softmax_cross_entropy_with_integer_labels.
    Departs from torch.nn.functional.cross_entropy: a label outside [0, k) costs NaN. Torch refuses
    it, but for -100, its default ignore_index, whose rows it skips: leave them out of the data.
    """
    label = jnp.asarray(label)
    value = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
    return jnp.where((label >= 0) & (label < logits.shape[-1]), value, jnp.nan)


def _floating(name: str, value: ArrayLike) -> Array:
    """The value as an array; an integer one would truncate what it is compared with."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating point; got {array.dtype}. "
            "Convert it with jnp.asarray(…, jnp.float32)."
        )
    return array
