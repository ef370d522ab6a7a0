"""CPU seconds of `diagnose`, 21 k parameters and 144 updates: python -m benchmarks.diagnosis.

An MLP's worth of arrays, recorded with batches, outputs and losses; a learning rate that is off, so
that every known difference is tried; and without a recipe.
"""

import time

import numpy as np

from jaxgd.equivalence import Recipe, Update, diagnose

UPDATES, SIZES = 144, ((64, 128), (128, 96), (96, 8))


def run(rate, seed=0):
    """SGD with momentum on gradients drawn at random, the same in both runs."""
    rng = np.random.default_rng(seed)
    shapes = {f"{i}.weight": s for i, s in enumerate(SIZES)}
    shapes |= {f"{i}.bias": s[1:] for i, s in enumerate(SIZES)}
    params = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    buffer, recording = {k: np.zeros_like(p) for k, p in params.items()}, []
    for _ in range(UPDATES):
        gradient = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
        buffer = {k: np.float32(0.9) * buffer[k] + g for k, g in gradient.items()}
        updated = {k: p - np.float32(rate) * buffer[k] for k, p in params.items()}
        batch = tuple(rng.normal(size=(32, width)).astype(np.float32) for width in (64, 8))
        outputs = rng.normal(size=(32, 8)).astype(np.float32)
        recording.append(Update(params, gradient, updated, batch, outputs, float(rng.normal())))
        params = updated
    return recording


def main():
    """Prints the seconds of three diagnoses."""
    actual, expected = run(0.0101), run(0.01)
    entries = sum(leaf.size for leaf in expected[0].params.values())
    print(f"{entries} parameters x {UPDATES} updates")
    recipe = Recipe("sgd", lr=0.01, momentum=0.9)
    for name, arguments in (
        ("learning rate x 1.01, recipe given", (actual, expected, recipe)),
        ("learning rate x 1.01, no recipe", (actual, expected)),
        ("honest, recipe given", (run(0.01), expected, recipe)),
    ):
        began = time.process_time()
        found = diagnose(*arguments)
        print(f"{time.process_time() - began:5.2f} s  {name}: {found.stage}, {found.cause}")


if __name__ == "__main__":
    main()
