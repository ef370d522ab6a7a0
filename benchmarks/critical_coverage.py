"""How often the interval of `critical_batch_size` holds the size that very many seeds say.

python -m benchmarks.critical_coverage

Samples of a few seeds, of fixed keys, on a parabola whose gradient's noise is the same everywhere.
A size's race is run for all samples at once, at six rates around the best, as the last race of
`critical_batch_size` is; the truth is the fit to one race of the seeds of all samples together.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd import init_state
from jaxgd.optim import sgd
from jaxgd.study.critical_size import fitted
from jaxgd.study.estimates import student_t
from jaxgd.study.races import race

N, D = 4096, 4
START, TARGET, TRACE, MOST = 1.0, 0.05, 2.0, 400
RATES = 2.0 ** ((np.arange(6) - 2.5) / 3)


def loss(params, row):
    return jnp.sum((params - row) ** 2) / 2


def start():
    return jnp.full(D, np.sqrt(START / D), jnp.float32)


def rows():
    x = np.random.default_rng(0).normal(size=(N, D))
    return jnp.asarray((x - x.mean(0)) / x.std(0) * np.sqrt(TRACE / D), jnp.float32)


def expected_updates(b):
    """The best constant rate, and the updates in which the expected loss falls to the target.

    e ← (1 - η)² e + η² tr Σ / b,   loss e/2,   e = E|θ|²
    """
    best = np.inf, np.nan
    for rate in np.geomspace(0.01, 1, 400):
        e, t = START, 0
        while e / 2 > TARGET and t < MOST:
            before, e, t = e, (1 - rate) ** 2 * e + rate**2 * TRACE / b, t + 1
        if e / 2 <= TARGET:
            best = min(best, (t - 1 + (before / 2 - TARGET) / (before / 2 - e / 2), rate))
    return best


def took(b, keys):
    """The updates of each sample to the target [samples, halves], at the best of six rates."""
    rates = jnp.asarray(expected_updates(b)[1] * RATES, jnp.float32)
    state = init_state(start(), sgd(0.1))
    given = rows(), jnp.zeros((1, D), jnp.float32)

    def one(keys):
        return race(loss, sgd, b)(
            state, *given, keys, jnp.float32(TARGET), rates, jnp.int32(MOST)
        ).hits.min(axis=0)

    return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)


def coverage(sizes, samples, seeds, confidences):
    """How often intervals of these confidences hold the truth, and how wide they are: high/low."""
    keys = jax.random.split(jax.random.key(0), (samples, seeds))
    each = np.stack([took(b, keys) for b in sizes])
    every = np.stack([took(b, keys.reshape(1, -1))[0] for b in sizes])
    _, truth, _ = fitted(sizes, every[:, [-1, -1]], N, seeds, 1.0, MOST)
    told = []
    for confidence in confidences:
        t = student_t(confidence, seeds - 1)
        found = [fitted(sizes, each[:, i], N, seeds, t, MOST)[1] for i in range(samples)]
        low, high = (np.array([float(getattr(f, end)) for f in found]) for end in ("low", "high"))
        held = (low <= float(truth.value)) & (float(truth.value) <= high)
        told.append((float(held.mean()), float(np.median(high / low))))
    return told


if __name__ == "__main__":
    print("batch sizes          seeds    95 %   high/low     80 %   high/low")
    for sizes in ((2, 8, 64), (2, 8, 32, 128)):
        for seeds in (4, 8, 16):
            told = coverage(sizes, 256, seeds, (0.95, 0.8))
            figures = "    ".join(f"{held:5.3f}   {wide:8.3g}" for held, wide in told)
            print(f"{sizes!s:20} {seeds:5}   {figures}", flush=True)
