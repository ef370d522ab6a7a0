"""`python -m benchmarks.edge_of_stability`: where sharpness settles, as a part of its limit.

A network of 16 tanh units on the bundled table, labels -1 and 1, squared error, full batches, 2000
updates: the median over the last 500 of rate · sharpness, which for GD may be 2 and for Adam, in
the metric of its preconditioner, 38. And the largest that GD reaches with a cross entropy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxgd
from jaxgd.study import adam_preconditioner, stability


def logit(params, x):
    return jaxgd.mlp(params, x)[0]


SQUARED = jaxgd.supervised(logit, jaxgd.squared_error)
ENTROPY = jaxgd.supervised(logit, jaxgd.binary_cross_entropy_with_logits)


def table():
    x, y = load_breast_cancer(return_X_y=True)
    return jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(2 * y - 1, jnp.float32)


def metric(state):
    adam = state.opt_state[0]
    return adam_preconditioner(adam.nu, jnp.maximum(adam.count, 1))


def rate_times_sharpness(loss, data, optimizer, rate, preconditioner=None):
    """After each of 2000 updates."""
    (path,) = stability(
        loss,
        jaxgd.init_mlp(jax.random.key(1), (30, 16, 1)),
        data,
        optimizer=optimizer(rate),
        epochs=2000,
        batch_sizes=(None,),
        key=jax.random.key(0),
        preconditioner=preconditioner,
        timed=False,
    )
    return path.sharpness * rate


def main():
    x, y = table()
    for name, optimizer, rate, preconditioner in (
        ("GD", optax.sgd, 0.2, None),
        ("Adam", optax.adam, 0.03, metric),
        ("Adam", optax.adam, 0.1, metric),
    ):
        found = rate_times_sharpness(SQUARED, (x, y), optimizer, rate, preconditioner)
        print(f"{name} at {rate}: rate · sharpness settles at {np.median(found[-500:]):.2f}")
    for rate in (0.2, 1.0, 4.0):
        found = rate_times_sharpness(ENTROPY, (x, (y + 1) / 2), optax.sgd, rate)
        told = f"at most {found.max():.2f}, at the end {found[-1]:.2g}"
        print(f"GD at {rate} with a cross entropy: rate · sharpness is {told}")


if __name__ == "__main__":
    main()
