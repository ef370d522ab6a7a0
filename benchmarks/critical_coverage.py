"""How often the interval of `critical_batch_size` holds the size that very many seeds say.

python -m benchmarks.critical_coverage

Descents of a parabola whose gradient has the same Gaussian noise everywhere, in NumPy: samples of a
few seeds each, at six rates around the best, as in the last race of `critical_batch_size`, whose
half-samples and whose fit these are. The truth is the fit to the seeds of all samples together.
"""

import numpy as np

from jaxgd.study.critical_size import fitted
from jaxgd.study.estimates import student_t
from jaxgd.study.races import samples_of

N, D = 4096, 4
START, TARGET, TRACE, MOST = 1.0, 0.05, 2.0, 400
RATES = 2.0 ** ((np.arange(6) - 2.5) / 3)


def expected_updates(b):
    """In how many updates the expected loss falls to the target at the best rate, and that rate.

    e ← (1 - η)² e + η² tr Σ / b,   loss e/2,   e = E|θ|²
    """
    rates = np.geomspace(0.01, 1, 400)
    e, hits = np.full(400, START), np.full(400, np.inf)
    for t in range(MOST):
        before, e = e, (1 - rates) ** 2 * e + rates**2 * TRACE / b
        first = (e / 2 <= TARGET) & np.isinf(hits)
        hits[first] = t + ((before - 2 * TARGET)[first] / (before - e)[first])
    return hits.min(), rates[hits.argmin()]


def took(b, samples, seeds, rng):
    """The updates of each sample to the target, at the best rate of its half-samples and all."""
    rates, weights = expected_updates(b)[1] * RATES, samples_of(seeds)
    params = np.full((samples, seeds, 6, D), np.sqrt(START / D))
    means = np.full((samples, len(weights), 6), START / 2)
    hits = np.full(means.shape, np.inf)
    deviation = np.sqrt(TRACE / D / b * (N - b) / (N - 1))
    for t in range(MOST):
        noise = deviation * rng.normal(size=(samples, seeds, 1, D))
        params -= rates[:, None] * (params - noise)
        before, means = means, weights @ (np.sum(params**2, axis=-1) / 2)
        first = (means <= TARGET) & np.isinf(hits)
        hits[first] = t + ((before - TARGET) / (before - means))[first]
        if np.isfinite(hits.min(axis=-1)).all():
            break
    return hits.min(axis=-1)


def coverage(sizes, samples, seeds, confidences):
    """How often intervals of these confidences hold the truth, and how wide they are: high/low."""
    rng = np.random.default_rng(0)
    each = np.stack([took(b, samples, seeds, rng) for b in sizes])
    every = np.stack([took(b, 1, samples * seeds, rng)[0] for b in sizes])
    truth = float(fitted(sizes, every, N, samples * seeds, 1.0)[1].value)
    told = []
    for confidence in confidences:
        t = student_t(confidence, seeds - 1)
        found = [fitted(sizes, took_, N, seeds, t)[1] for took_ in np.moveaxis(each, 1, 0)]
        low, high = (np.array([float(getattr(f, end)) for f in found]) for end in ("low", "high"))
        told.append((float(np.mean((low <= truth) & (truth <= high))), np.median(high / low)))
    return told


if __name__ == "__main__":
    print("batch sizes          seeds    95 %   high/low     80 %   high/low")
    for sizes in ((2, 8, 64), (2, 8, 32, 128)):
        for seeds in (4, 8):
            told = coverage(sizes, 200, seeds, (0.95, 0.8))
            figures = "    ".join(f"{held:5.3f}   {wide:8.3g}" for held, wide in told)
            print(f"{sizes!s:20} {seeds:5}   {figures}", flush=True)
