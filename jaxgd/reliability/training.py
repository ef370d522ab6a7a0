"""A fit with checkpoints, for a proof that kills it: `python -m jaxgd.reliability.training FOLDER`.

It goes on from what is in the folder, and prints the hash of what it ends with. With a second
argument, a number, the clock jumps by up to so many seconds, either way, whenever it is read.
"""

import hashlib
import random
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgd
from jaxgd import batches
from jaxgd.optim import adam

EPOCHS = 30


def main(folder: Path, jumps: float) -> str:
    """Thirty epochs of an MLP, a checkpoint after every segment; its hash."""
    if jumps:
        _let_the_clock_jump(jumps)
    batches.SEGMENT_ROWS = 64  # four segments an epoch, each saved
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((230, 6), (230,)))

    def loss(params: Any, example: Any) -> Any:
        return jaxgd.squared_error(jaxgd.mlp(params, example[0])[0], example[1])

    fit = jaxgd.fit(
        loss,
        jaxgd.init_mlp(jax.random.key(1), (6, 8, 1)),
        (x, y),
        optimizer=adam(lr=1e-2),
        epochs=EPOCHS,
        batch_size=7,
        key=jax.random.key(2),
        validation=(x[:20], y[:20]),
        progress=lambda _: time.sleep(0.005),  # so that a kill finds it running
        checkpoint=folder,
        every=1,
        keep_best=True,
        resume=True,
    )
    digest = hashlib.sha256(str(fit.position).encode())
    for leaf in jax.tree.leaves((fit.state, fit.history.loss, fit.history.validation_loss)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _let_the_clock_jump(seconds: float) -> None:
    real, chance = time.time, random.Random(0)
    time.time = lambda: real() + chance.uniform(-seconds, seconds)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
