"""A loss and a pytree of one's own: a circle fitted to points, robust to outliers.

Nothing of the model is known to jaxgd: `params` is a dict, an example is a point, the loss a
Huber function of its distance from the circle. Fifteen of the hundred points are strays.

Prints:
    centre 2.0 -1.0  radius 3.0
"""

import jax
import jax.numpy as jnp
import optax

import jaxgd


def loss(params, point):
    distance = jnp.linalg.norm(point - params["centre"])
    return optax.losses.huber_loss(distance, params["radius"], delta=0.1)


angle_key, noise_key, stray_key, order_key = jax.random.split(jax.random.key(0), 4)
angle = jax.random.uniform(angle_key, (85,), maxval=2 * jnp.pi)
circle = jnp.array([2.0, -1.0]) + 3 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
circle += 0.02 * jax.random.normal(noise_key, circle.shape)
strays = jax.random.uniform(stray_key, (15, 2), minval=-6, maxval=6)
points = jnp.concatenate([circle, strays])

params = {"centre": points.mean(axis=0), "radius": jnp.array(1.0)}
optimizer = optax.adam(optax.exponential_decay(0.1, transition_steps=100, decay_rate=0.7))
run = jax.jit(jaxgd.train(jaxgd.minibatch(loss, optimizer, batch_size=16), epochs=200))
state, losses = run(jaxgd.init_state(params, optimizer), points, order_key)

(x, y), radius = state.params["centre"], state.params["radius"]
print(f"centre {x:.1f} {y:.1f}  radius {radius:.1f}")
