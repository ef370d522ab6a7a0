"""How often intervals of `gradient_noise` hold the truth, by distribution, rows, noise scale.

python -m benchmarks.noise_coverage
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.study import gradient_noise

REPETITIONS, SCALES, WIDTH = 1000, (2.0, 30.0, 300.0), 30


def gaussian(key, n):
    return jax.random.normal(key, (n, WIDTH))


def scaled(key, n):
    """Rows whose lengths differ: a logarithm of deviation 0.7."""
    for_rows, for_scale = jax.random.split(key)
    factor = jnp.exp(0.7 * jax.random.normal(for_scale, (n, 1)) - 0.49)
    return jax.random.normal(for_rows, (n, WIDTH)) * factor


def log_normal(key, n):
    """Every entry the exponential of a normal one: a kurtosis of 114."""
    z = jnp.exp(jax.random.normal(key, (n, WIDTH)))
    return (z - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def coverage(draw, n):
    """By noise scale: how often the intervals of the scale and of tr Σ hold the truth."""
    spread = jnp.arange(1, WIDTH + 1, dtype=jnp.float32) ** -0.5
    trace = float(jnp.sum(spread**2))

    def one(key, scale):
        rows = draw(key, n) * spread + jnp.sqrt(trace / scale / WIDTH)
        noise = gradient_noise(jnp.vdot, jnp.zeros(WIDTH), rows)
        pairs = (noise.noise_scale, scale), (noise.trace, trace)
        return [(estimate.low <= x) & (x <= estimate.high) for estimate, x in pairs]

    keys = jax.random.split(jax.random.key(0), REPETITIONS)
    over_scales = jax.vmap(jax.vmap(one, (0, None)), (None, 0))
    held = jax.jit(over_scales)(keys, jnp.asarray(SCALES))
    return [np.asarray(x).mean(axis=1) for x in held]


if __name__ == "__main__":
    print("rows are             n    " + "  ".join(f"scale {s:g}" for s in SCALES) + "   tr Σ")
    for draw in (gaussian, scaled, log_normal):
        for n in (64, 455):
            scales, traces = coverage(draw, n)
            told = "     ".join(f"{c:.3f}" for c in scales)
            print(f"{draw.__name__:16} {n:6}    {told}    {traces.mean():.3f}", flush=True)
