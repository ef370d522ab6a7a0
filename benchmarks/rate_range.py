"""`python -m benchmarks.rate_range`: is the rate that is found still good in runs 20 times as long?

On random problems whose features differ in scale by up to a thousand, and the problems by up to
ten thousand: linear and logistic regression and a network, by GD, SGD, mini-batches of 8, momentum
and Adam. A run is good if it stays finite and ends no higher than 1.3 times where the short clean
runs ended. Beside it: the same run at the rate that the ramp alone suggests.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from jaxgd.study import learning_rate_range
from jaxgd.study.short_runs import full_batches, run_at

N, D, TIMES, KEY = 200, 10, 20, jax.random.key(0)
SQUARED = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
LOGISTIC = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
NETWORK = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], jaxgd.squared_error)
KINDS = {
    "linear, GD": (SQUARED, None, optax.sgd),
    "linear, batches of 8": (SQUARED, 8, optax.sgd),
    "logistic, SGD": (LOGISTIC, 1, optax.sgd),
    "linear, momentum": (SQUARED, 8, partial(optax.sgd, momentum=0.9)),
    "network, batches of 8": (NETWORK, 8, optax.sgd),
    "network, Adam": (NETWORK, 8, optax.adam),
}


def problem(seed, loss):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D)) * 10 ** rng.uniform(-1.5, 1.5, D) * 10 ** rng.uniform(-2, 2)
    y = x @ (rng.normal(size=D) / x.std(0)) + 0.3 * rng.normal(size=N)
    y = y > 0 if loss is LOGISTIC else y
    net = loss is NETWORK
    params = jaxgd.init_mlp(jax.random.key(seed), (D, 16, 1)) if net else jaxgd.init_linear(D)
    return params, (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))


def stays_good(seed, loss, batch_size, optimizer):
    """Whether the long runs at the found rate, and at the ramp's, are good; None without one."""
    params, data = problem(seed, loss)
    found = learning_rate_range(
        loss, params, data, optimizer=optimizer, batch_size=batch_size, key=KEY
    )
    updates = TIMES * found.updates
    rows = None if batch_size is None else full_batches(KEY, N, batch_size, updates)[0]
    run = jax.jit(partial(run_at, loss, optimizer))
    short = found.bracket.losses[found.bracket.best].mean()

    def is_good(rate):
        losses = np.asarray(run(params, data, jnp.full(updates, rate), rows)[1])
        return bool(np.isfinite(losses).all() and losses[-200:].mean() <= 1.3 * short)

    of_ramp = None if found.ramp.suggestion is None else is_good(found.ramp.suggestion)
    return is_good(found.rate), of_ramp


def main(seeds=6):
    total = np.zeros(3, int)
    for name, (loss, batch_size, optimizer) in KINDS.items():
        goods = [stays_good(seed, loss, batch_size, optimizer) for seed in range(seeds)]
        counts = [len(goods), sum(good for good, _ in goods), sum(bool(ramp) for _, ramp in goods)]
        total += counts
        print(
            "{:24}{:3} problems, good at the found rate {:3}, at the ramp's {:3}".format(
                name, *counts
            )
        )
    print(
        "{:24}{:3} problems, good at the found rate {:3}, at the ramp's {:3}".format("all", *total)
    )


if __name__ == "__main__":
    main()
