"""`python -m benchmarks.edge_of_stability`: where sharpness settles, as a part of its limit.

A network of 16 tanh units on the bundled table, labels -1 and 1, squared error, full batches, 2000
updates: the median over the last 500 of rate · sharpness, which for GD may be 2 and for Adam, in
the metric of its preconditioner, 38.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxgd
from jaxgd.study import adam_preconditioner, stability

LOSS = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], jaxgd.squared_error)


def table():
    x, y = load_breast_cancer(return_X_y=True)
    return jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(2 * y - 1, jnp.float32)


def metric(state):
    adam = state.opt_state[0]
    return adam_preconditioner(adam.nu, jnp.maximum(adam.count, 1))


def main():
    net, key = jax.random.key(1), jax.random.key(0)
    net = jaxgd.init_mlp(net, (30, 16, 1))
    for name, optimizer, rate, preconditioner in (
        ("GD", optax.sgd, 0.2, None),
        ("Adam", optax.adam, 0.03, metric),
        ("Adam", optax.adam, 0.1, metric),
    ):
        (path,) = stability(
            LOSS,
            net,
            table(),
            optimizer=optimizer(rate),
            epochs=2000,
            batch_sizes=(None,),
            key=key,
            preconditioner=preconditioner,
            timed=False,
        )
        settled = np.median(path.sharpness[-500:]) * rate
        print(f"{name} at {rate}: rate · sharpness settles at {settled:.2f}")


if __name__ == "__main__":
    main()
