"""Many fits, many segments: `python -m tests.fitting.soak FITS` says what has grown meanwhile.

Each fit has 40 segments, every one of them saved, and every third fit is stopped and resumed.
"""

import gc
import os
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import jax
import numpy as np

import jaxgd
from jaxgd import batches
from tests.laws.problem import KEY, MOMENTUM, data, loss

PARAMS = jaxgd.Linear(np.full(5, 0.1, np.float32), np.asarray(0.1, np.float32))
SEGMENTS = 40


class Counts:
    """How many programs were compiled since it was made."""

    def __init__(self):
        self.compiled = 0
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event, duration, **_):
        self.compiled += event == "/jax/core/compile/backend_compile_duration"

    def now(self):
        """Memory in kB, open files, threads, compilations, live arrays."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "kB of memory": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            "open files": len(list(Path("/proc/self/fd").iterdir())),
            "threads": threading.active_count(),
            "compilations": self.compiled,
            "live arrays": len(jax.live_arrays()),
        }


def fit_once(folder, number, table):
    """Ten epochs of four segments, saved after each."""
    options = {
        "optimizer": MOMENTUM,
        "epochs": 10,
        "key": KEY,
        "batch_size": 3,
        "checkpoint": folder / str(number),
        "every": 1,
        "keep_best": True,
        "resume": True,
    }
    if number % 3 == 0:
        jaxgd.fit(loss, PARAMS, table, progress=lambda now: now.epoch == 5, **options)
    jaxgd.fit(loss, PARAMS, table, **options)
    for path in (folder / str(number)).iterdir():
        path.unlink()


def soak(fits, warm=6):
    """What was there after a few fits, and after so many more."""
    table, counts = data(24), Counts()
    short = mock.patch.object(batches, "SEGMENT_ROWS", 6)
    with TemporaryDirectory() as place, short:
        for number in range(warm):
            fit_once(Path(place), number, table)
        before = counts.now()
        for number in range(warm, warm + fits):
            fit_once(Path(place), number, table)
        return before, counts.now()


if __name__ == "__main__":
    fits, began = int(sys.argv[1]), time.monotonic()
    before, after = soak(fits)
    print(f"{fits} fits of {SEGMENTS} segments in {time.monotonic() - began:.0f} s")
    for name, was in before.items():
        print(f"{name}: {was} before, {after[name]} after")
