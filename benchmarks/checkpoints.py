"""What checkpoints cost a run: `python -m benchmarks.checkpoints`.

One fit of an MLP of 0.5 million parameters with Adam (a state of 6.3 MB), without checkpoints, with
each written before the next segment begins, and with each written beside it; in turn, so that a
busy machine is as busy for all three. The first of each is not counted. Beside the seconds stand
those that the training's own thread was at work, which no other process disturbs: XLA computes in
others.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import jax
import numpy as np

import jaxgd
from jaxgd.storage import Background

ROUNDS, EPOCHS, ROWS, WIDTH = 9, 6, 4096, 512
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
    """Of a fit, and of the training's thread in it."""
    began, worked = time.perf_counter(), time.thread_time()
    jaxgd.fit(
        loss, PARAMS, DATA, optimizer="adam", epochs=EPOCHS, batch_size=128, key=jax.random.key(1),
        **options,
    )  # fmt: skip
    return time.perf_counter() - began, time.thread_time() - worked


def one_round(folder):
    """Without, before the next segment, and beside it."""
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
    found = np.median(np.array(rounds[1:]), axis=0)
    names = ("without", "before the next segment", "beside the next segment")
    print(f"{EPOCHS} checkpoints a run, median of {ROUNDS} rounds")
    for name, (taken, worked) in zip(names, found, strict=True):
        share = taken / found[0, 0]
        print(f"{name}: {taken:.2f} s, {share:.3f} of a run without; its thread {worked:.3f} s")


if __name__ == "__main__":
    main()
