"""Differentiating through a whole run: the learning rate itself, learned by gradient descent.

A run is a pure function, so the loss it ends with has a gradient with respect to anything that
went in. Here that is the logarithm of the learning rate, and the outer loop is jaxgd's own
update over runs with different orders.

Prints:
    learning rate 0.010: loss after 3 epochs 0.413
    learning rate 0.202: loss after 3 epochs 0.124
"""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_breast_cancer

import jaxgd

x, y = load_breast_cancer(return_X_y=True)
data = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(y, jnp.float32)


loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def loss_of_run(log_rate, order_key):
    """The training loss that a run of three epochs ends with."""
    optimizer = optax.sgd(jnp.exp(log_rate))
    run = jaxgd.train(jaxgd.minibatch(loss, optimizer, batch_size=64), epochs=3)
    state, _ = run(jaxgd.init_state(jaxgd.init_linear(30), optimizer), data, order_key)
    return jnp.mean(jax.vmap(loss, in_axes=(None, 0))(state.params, data))


optimizer = optax.adam(0.2)
orders = jax.random.split(jax.random.key(0), 16)  # an example of the outer run is one order
outer = jax.jit(jaxgd.train(jaxgd.minibatch(loss_of_run, optimizer, batch_size=4), epochs=4))
start = jaxgd.init_state(jnp.log(0.01), optimizer)
state, _ = outer(start, orders, jax.random.key(1))

for log_rate in (start.params, state.params):
    final = jnp.mean(jax.vmap(loss_of_run, in_axes=(None, 0))(log_rate, orders))
    print(f"learning rate {jnp.exp(log_rate):.3f}: loss after 3 epochs {final:.3f}")
