"""The lesson: one neuron, one example, and one step of descent that makes its loss smaller.

Prints:
    z 0.3829  a 0.5946  loss 0.5199
    gradients -0.4987 -0.4054
    after one step with learning rate 1: w 0.7287  b 0.5054  loss 0.2201
"""

import jax
import jax.numpy as jnp
import optax

import jaxgd


def loss(params, example):
    x, y = example
    return jaxgd.binary_cross_entropy(jaxgd.logistic(params, x), y)


params = jaxgd.Linear(w=jnp.array([0.23]), b=jnp.array(0.1))
x, y = jnp.array([1.23]), jnp.array(1.0)

value, grad = jax.value_and_grad(loss)(params, (x, y))
z, a = jaxgd.linear(params, x), jaxgd.logistic(params, x)
print(f"z {z:.4f}  a {a:.4f}  loss {value:.4f}")
print(f"gradients {grad.w[0]:.4f} {grad.b:.4f}")

optimizer = optax.sgd(learning_rate=1.0)
update = jaxgd.step(loss, optimizer)
batch = (x[None], y[None])  # a batch is a stack of examples; this one holds a single one
state, _ = update(jaxgd.init_state(params, optimizer), batch)
w, b = state.params
print(
    f"after one step with learning rate 1: w {w[0]:.4f}  b {b:.4f}  "
    f"loss {loss(state.params, (x, y)):.4f}"
)
