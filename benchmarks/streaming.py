"""`python -m benchmarks.streaming [DIRECTORY]`: a fit of a file larger than the memory limit.

An MLP (127-32-1, batches of 256, SGD) learns one epoch from a `.npy` file of 4 GiB (`--gib`) in a
process that may allocate 1 GiB (`--limit`, as RLIMIT_DATA: all private memory; the pages of a
mapped file are not in it), and from a quarter of the rows in memory without a limit; with `--way`
in one of the ways alone. Printed are rows a second, by the wall's
clock and by the processors' (which a busy machine disturbs less), and the peak and the last third's
growth of the process's own memory. The file is read from the system's cache, where it fits there;
`--disk` instead drops it from there and times the reading of 4,096 random rows, three times: with
what the system reads around each, as `npy(…, fits=True)` does, and as `fits=False`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

FEATURES, HIDDEN, BATCH = 127, 32, 256
ROW_BYTES = 4 * (FEATURES + 1)
WAYS = ("in memory", "streamed", "streamed within the limit")


def written(path: Path, n: int) -> None:
    """The file: features and, last in a row, the label."""
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n, FEATURES + 1))
    rng = np.random.default_rng(0)
    for start in range(0, n, 2**16):
        rows = file[start : start + 2**16]
        rows[:] = rng.standard_normal(rows.shape, np.float32)
        rows[:, -1] = rows[:, 0] > 0
    file.flush()


class Memory:
    """The private memory of this process, sampled."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            status = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            self.samples.append(int(status["RssAnon"].split()[0]) * 1024)
            time.sleep(0.02)


def run(way: str, path: Path, limit: int) -> dict:
    """One way, in this process."""
    if way == WAYS[2]:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    import jax

    import jaxgd
    from jaxgd.streaming import npy

    def loss(params: object, row: jax.Array) -> jax.Array:
        return jaxgd.binary_cross_entropy_with_logits(jaxgd.mlp(params, row[:-1])[0], row[-1])

    params = jaxgd.init_mlp(jax.random.key(1), (FEATURES, HIDDEN, 1))
    mapped = np.load(path, mmap_mode="r")
    n = len(mapped) // 4 if way == WAYS[0] else len(mapped)
    data = np.array(mapped[:n]) if way == WAYS[0] else npy(path)
    memory, optimizer, clocks = Memory(), jaxgd.optim.sgd(lr=0.01), []

    def clock(now: jaxgd.Progressed) -> None:
        clocks.append((BATCH * now.update or n, time.process_time()))

    fit = jaxgd.fit(
        loss,
        params,
        data,
        optimizer=optimizer,
        epochs=1,
        batch_size=BATCH,
        key=jax.random.key(0),
        progress=clock,
    )
    (first, began), (last, ended) = clocks[0], clocks[-1]
    third = len(memory.samples) // 3
    return {
        "way": way,
        "rows/s": round(n / fit.history.run_seconds),
        "rows/processor s": round((last - first) / (ended - began)),
        "peak MiB": max(memory.samples) >> 20,
        "growth MiB": (max(memory.samples[-third:]) - max(memory.samples[third:-third])) >> 20,
        "loss": float(fit.history.loss[0, -100:].mean()),
    }


def dropped(path: Path) -> None:
    """The system's cache forgets the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk(path: Path) -> None:
    from jaxgd.streaming import npy

    for fits in (True, False):
        dropped(path)
        source, rng, seconds = npy(path, fits=fits), np.random.default_rng(1), []
        for _ in range(3):
            rows = rng.integers(0, source.n, 4096).astype(np.int32)
            began = time.perf_counter()
            source.rows(rows)
            seconds.append(round(time.perf_counter() - began, 3))
        print({"fits": fits, "seconds for 4096 rows": seconds}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path("/tmp"))
    parser.add_argument("--disk", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--gib", type=int, default=4, help="of the file")
    parser.add_argument("--limit", type=int, default=1, help="in GiB")
    options = parser.parse_args()
    path = options.directory / f"jaxgd_streaming_{options.gib}.npy"
    if not path.exists():
        written(path, options.gib * 2**30 // ROW_BYTES)
    if options.way:
        print(json.dumps(run(options.way, path, options.limit * 2**30)))
        return
    if options.disk:
        disk(path)
        return
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.streaming", str(options.directory)]
            command += ["--gib", str(options.gib), "--limit", str(options.limit)]
            done = subprocess.run([*command, "--way", way], capture_output=True, text=True)
            print(done.stdout.strip() or done.stderr[-500:], flush=True)


if __name__ == "__main__":
    main()
