"""What a cell of a sweep must be: linear regression by momentum, in NumPy, one run at a time."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd import Linear, linear, shuffle, squared_error, supervised

LOSS = supervised(linear, squared_error)
W, B = np.array([1.0, 0.0, -1.0]), 2.0


def start():
    dtype = jnp.asarray(0.0).dtype
    return Linear(jnp.asarray(W, dtype), jnp.asarray(B, dtype))


def rows(n, d=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return tuple(a.astype(jnp.asarray(0.0).dtype) for a in (x, x @ rng.normal(size=d) + 1))


@cache
def orders(n, seed, epochs):
    key = jax.random.key(seed)
    return [np.asarray(shuffle(jax.random.fold_in(key, e), n)) for e in range(epochs)]


def slope(params, x, y):
    """The mean squared error, and its gradient in (w, b)."""
    off = x @ params[:-1] + params[-1] - y
    return np.mean(off**2), 2 * np.append(off @ x, off.sum()) / len(y)


def run(point, batch_size, seed, n, epochs, ahead=0.0):
    """Each epoch's mean loss, and the parameters at the end.

    The step goes along the gradient `ahead` of the parameters.
    """
    x, y = (a.astype(float) for a in rows(n))
    params, velocity, means = np.append(W, B), 0.0, []
    with np.errstate(all="ignore"):
        for order in orders(n, seed, epochs):
            total = 0.0
            for i in range(0, n, batch_size):
                batch = order[i : i + batch_size]
                total += slope(params, x[batch], y[batch])[0] * len(batch)
                grad = slope(params + ahead, x[batch], y[batch])[1]
                velocity = point.get("momentum", 0.0) * velocity + grad
                params = params - point["lr"] * velocity
            means.append(total / n)
    return np.array(means), params
