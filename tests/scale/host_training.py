"""A fit by several processes, for tests and for whoever wants to disturb one by hand.

`python -m tests.scale.host_training FOLDER COORDINATOR PROCESSES INDEX [SETTING=VALUE …]` goes on
from what is in the folder and prints the hash of what it ends with. Without processes (0) it is the
same training by this one alone, on one device.
"""

import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import optax

import jaxgd
from jaxgd import batches
from jaxgd.scale import data_parallel, join, own_rows, spread

N, DEVICES = 203, 4
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


@dataclass(frozen=True)
class Settings:
    epochs: int = 3
    batch: int = 16  # 0 for all rows
    ordered: int = 1
    timeout: int = 10
    pause: float = 0.0  # seconds after each segment
    cold: int = 0  # wait so many seconds before anything else
    fails: int = -1  # the process whose callback raises


def main(folder: Path, settings: Settings, processes: int, index: int) -> str:
    """The hash of the state, the history and the position."""
    from tests.laws.problem import KEY, data, loss, start  # computes: after having joined

    devices = DEVICES if processes else 1
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    own = own_rows(N, mesh)
    rows = spread(jax.tree.map(lambda a: np.asarray(a)[own], data(N)), mesh, n=N)
    b = settings.batch or None
    epoch = data_parallel(
        loss, OPTIMIZER, b, mesh, rows="owned", deterministic=bool(settings.ordered)
    )

    def pause(now: jaxgd.Progressed) -> None:
        if index == settings.fails and now.epoch == 1:
            raise ValueError("this callback fails")
        time.sleep(settings.pause)

    with mock.patch.object(batches, "SEGMENT_ROWS", 64):  # three segments an epoch
        fit = jaxgd.fit(
            loss,
            start(OPTIMIZER).params,
            rows,
            optimizer=OPTIMIZER,
            epochs=settings.epochs,
            batch_size=b,
            epoch=epoch,
            key=KEY,
            validation=jax.tree.map(lambda a: np.asarray(a)[:40], data(N)),
            progress=pause,
            checkpoint=folder,
            every=1,
            resume=True,
            patience=1000,
        )
    digest = hashlib.sha256(str(fit.position).encode())
    for leaf in jax.tree.leaves((fit.state, fit.history.loss, fit.history.validation_loss)):
        digest.update(np.asarray(leaf).tobytes())
    return f"{digest.hexdigest()} {np.asarray(fit.params.w).sum():.6f}"


if __name__ == "__main__":
    folder, coordinator, processes, index = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5])
    named = dict(word.split("=") for word in sys.argv[5:])
    kinds = {name: type(value) for name, value in vars(Settings()).items()}
    settings = Settings(**{name: kinds[name](value) for name, value in named.items()})
    time.sleep(settings.cold)
    if processes:
        jax.config.update("jax_num_cpu_devices", DEVICES // processes)
        join(coordinator, processes, index, timeout=settings.timeout)
    try:
        print("ends with", main(Path(folder), settings, processes, index), flush=True)
    except jaxgd.Interrupted as error:
        print("stops", error.reached, flush=True)
        sys.exit(128 + error.number)
