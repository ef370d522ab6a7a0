"""Per-example SGD beyond its plainest form: other losses of a linear predictor, other methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxgd
from jaxgd import optim

LEARNING_RATE, DECAY, CLASSES = 0.1, 1e-4, 10

Link = Callable[[Any, Any], jax.Array]


@dataclass(frozen=True)
class Variant:
    """A loss of logits and a label; our optimizer, optax's and scikit-learn's options if any."""

    link: Link = jaxgd.binary_cross_entropy_with_logits
    ours: optax.GradientTransformation = field(default_factory=lambda: optax.sgd(LEARNING_RATE))
    theirs: optax.GradientTransformation | None = field(
        default_factory=lambda: optax.sgd(LEARNING_RATE)
    )
    scikit: dict[str, Any] | None = None
    outputs: int | None = None


def half_square(logit: jax.Array, label: jax.Array) -> jax.Array:
    return (logit - label) ** 2 / 2


def hinge(logit: jax.Array, label: jax.Array) -> jax.Array:
    return jnp.maximum(0.0, 1 - (2 * label - 1) * logit)


def huber(logit: jax.Array, label: jax.Array) -> jax.Array:
    return optax.losses.huber_loss(logit, label, delta=0.1)


def poisson(logit: jax.Array, label: jax.Array) -> jax.Array:
    return jnp.exp(logit) - label * logit


def one_vs_rest(logits: jax.Array, label: jax.Array) -> jax.Array:
    hot = jax.nn.one_hot(label, CLASSES, dtype=logits.dtype)
    return jnp.sum(jax.vmap(jaxgd.binary_cross_entropy_with_logits)(logits, hot))


VARIANTS = {
    "momentum": Variant(
        ours=optim.sgd(LEARNING_RATE, momentum=0.9), theirs=optax.sgd(LEARNING_RATE, 0.9)
    ),
    "Nesterov": Variant(
        ours=optim.sgd(LEARNING_RATE, momentum=0.9, nesterov=True),
        theirs=optax.sgd(LEARNING_RATE, 0.9, nesterov=True),
    ),
    "coupled decay": Variant(
        ours=optim.sgd(LEARNING_RATE, weight_decay=DECAY),
        theirs=optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(LEARNING_RATE)),
        scikit={"loss": "log_loss", "penalty": "l2", "alpha": DECAY},
    ),
    "decoupled decay (AdamW)": Variant(
        ours=optim.adamw(1e-3, weight_decay=DECAY), theirs=optax.adamw(1e-3, weight_decay=DECAY)
    ),
    "averaging": Variant(
        ours=optim.asgd(LEARNING_RATE, lambd=0, alpha=0, t0=0),
        theirs=None,
        scikit={"loss": "log_loss", "average": True},
    ),
    "multinomial": Variant(link=jaxgd.cross_entropy, outputs=CLASSES),
    "one-vs-rest": Variant(link=one_vs_rest, outputs=CLASSES, scikit={"loss": "log_loss"}),
    "squared": Variant(link=half_square, scikit={"loss": "squared_error"}),
    "hinge": Variant(link=hinge, scikit={"loss": "hinge"}),
    "Huber": Variant(link=huber, scikit={"loss": "huber", "epsilon": 0.1}),
    "Poisson": Variant(link=poisson),
}
