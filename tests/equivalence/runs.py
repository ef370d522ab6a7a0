"""Synthetic runs in NumPy: what a training looks like, without a framework or a CPU in its bits."""

import numpy as np

from jaxgd.equivalence import Update

# The logistic map's Lyapunov exponent at rate 3.9 is 0.50: rounding grows tenfold in 4.6 updates.
DECADE_OF_CHAOS = np.log(10) / 0.50


def descent(dtype, updates=200, learning_rate=0.1, jitter=0, seed=0):
    """Gradient descent on a noisy quadratic, with the start in front.

    jitter: roundings (of the parameter's own size) added at random to each update, as another
    order of summation would.
    """
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    curvature = rng.uniform(0.1, 2.0, 8).astype(dtype)
    w, b = rng.normal(size=8).astype(dtype), np.zeros((), dtype)
    learning_rate, eps = dtype(learning_rate), np.finfo(dtype).eps
    run = [{"w": w, "b": b}]
    for pull in rng.normal(size=(updates, 9)).astype(dtype):
        step_w = learning_rate * (curvature * w - dtype(0.3) * pull[:8])
        step_b = learning_rate * (b - dtype(1) + dtype(0.3) * pull[8])
        rounding = (jitter * eps * noise.uniform(-1, 1, 9)).astype(dtype)
        w = w - step_w + rounding[:8] * np.abs(w)
        b = b - step_b + rounding[8] * np.abs(b)
        run.append({"w": w, "b": b})
    return run


def chaos(dtype, updates=200, rate=3.9, perturbed=0.0):
    """The logistic map, which doubles a rounding in every update."""
    x = np.linspace(0.2, 0.4, 6).astype(dtype) + dtype(perturbed)
    run = [x]
    for _ in range(updates):
        x = dtype(rate) * x * (dtype(1) - x)
        run.append(x)
    return run


def momentum_run(dtype=np.float64, updates=30, learning_rate=0.1, jitter=0, tilt_from=None):
    """Momentum on a quadratic, every update recorded; `tilt_from` spoils the gradient from there.

    jitter: roundings added at random to each gradient, as another order of summation would.
    learning_rate: one, or one for each of the 8 entries.
    """
    rng, noise = np.random.default_rng(0), np.random.default_rng(1)
    curvature, w = rng.uniform(0.1, 1.0, 8).astype(dtype), rng.normal(size=8).astype(dtype)
    buffer, recording = np.zeros_like(w), []
    for update in range(1, updates + 1):
        gradient = curvature * w
        gradient = gradient * (1 + jitter * np.finfo(dtype).eps * noise.uniform(-1, 1, 8))
        if tilt_from is not None and update >= tilt_from:
            gradient = gradient + np.where(np.arange(8) == 3, 0.01, 0.0)
        gradient = gradient.astype(dtype)
        buffer = dtype(0.9) * buffer + gradient
        updated = w - dtype(learning_rate) * buffer
        recording.append(Update({"w": w}, {"w": gradient}, {"w": updated}))
        w = updated
    return recording
