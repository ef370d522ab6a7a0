"""One small training that the laws are told on: logistic regression with a ragged last batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd

N, D, B = 25, 5, 8
LEARNING_RATE = 0.1
KEY = jax.random.key(0)
EPOCHS = {
    "gd": jaxgd.gd,
    "sgd": jaxgd.sgd,
    "minibatch": lambda loss, optimizer: jaxgd.minibatch(loss, optimizer, B),
}
UPDATES = {"gd": 1, "sgd": N, "minibatch": -(-N // B)}


loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def data(n=N, dtype=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    y = x @ rng.normal(size=D) + rng.normal(size=n) > 0
    dtype = dtype or jnp.zeros(()).dtype
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def start(optimizer, scale=0.1):
    params = jaxgd.Linear(jnp.full(D, scale), jnp.asarray(scale))
    return jaxgd.init_state(params, optimizer)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


SGD = optax.sgd(LEARNING_RATE)
MOMENTUM = optax.sgd(LEARNING_RATE, momentum=0.9)
