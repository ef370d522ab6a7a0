"""What checkpoints cost a run: `python -m benchmarks.checkpoints`.

One fit of an MLP of 0.5 million parameters with Adam (a state of 6.3 MB), without checkpoints, with
each written before the next segment begins, and with each written beside it; in turn, so that a
busy machine is as busy for all three. The first of each is not counted.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import jax
import numpy as np

import jaxgd
from jaxgd.storage import Background

ROUNDS, EPOCHS, ROWS, WIDTH = 5, 5, 2048, 512
RNG = np.random.default_rng(0)
DATA = (
    RNG.normal(size=(ROWS, WIDTH)).astype(np.float32),
    RNG.normal(size=ROWS).astype(np.float32),
)
PARAMS = jaxgd.init_mlp(jax.random.key(0), (WIDTH, WIDTH, WIDTH, 1))


def loss(params, example):
    return jaxgd.squared_error(jaxgd.mlp(params, example[0])[0], example[1])


def at_once(self, work):
    """A save that nothing runs beside."""
    self.wait()
    work()


def seconds(**options):
    began = time.perf_counter()
    jaxgd.fit(
        loss, PARAMS, DATA, optimizer="adam", epochs=EPOCHS, batch_size=128, key=jax.random.key(1),
        **options,
    )  # fmt: skip
    return time.perf_counter() - began


def one_round(folder):
    """Seconds without, before the next segment, and beside it."""
    updates = ROWS // 128
    without = seconds()
    with mock.patch.object(Background, "start", at_once):
        before = seconds(checkpoint=folder / "before", every=updates)
    return without, before, seconds(checkpoint=folder / "beside", every=updates)


def main():
    rounds = []
    for _ in range(ROUNDS + 1):
        with TemporaryDirectory() as place:
            rounds.append(one_round(Path(place)))
    columns = [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
    names = ("without", "before the next segment", "beside the next segment")
    print(f"{EPOCHS} checkpoints a run, median of {ROUNDS} rounds")
    for name, taken in zip(names, columns, strict=True):
        print(f"{name}: {taken:.2f} s, {taken / columns[0]:.3f} of a run without")


if __name__ == "__main__":
    main()
