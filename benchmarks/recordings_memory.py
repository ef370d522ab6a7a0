"""Memory to compare two recordings on disk: `python -m benchmarks.recordings_memory FOLDER [ROWS]`.

A recording of N parameters and T updates holds N numbers of gradient and N of parameters an update.
Each row is a comparison in a process of its own: the bytes of both recordings as `jaxgd diff` reads
them, the largest resident memory of that process, and what it had before it read anything.

A hundred million parameters times two hundred updates are 320 GB for both sides in float32. The
rows keep to what a disk holds: many updates of a smaller model, and few of a large one.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jaxgd.equivalence import DiskRecording, Recorder
from jaxgd.equivalence.diagnosis.of_recordings import difference

# Parameters and updates.
ROWS = ((1_000_000, 20), (1_000_000, 200), (100_000_000, 2))
LEAVES, RATE = 16, 0.5


def tree(generator: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Sixteen leaves of one size."""
    numbers = generator.standard_normal(size, dtype=np.float32)
    return {f"layer{i}": part for i, part in enumerate(np.split(numbers, LEAVES))}


def write(folder: Path, parameters: int, updates: int, *, jitter: bool) -> None:
    """Gradient descent there and back: every second gradient undoes the one before."""
    generator = np.random.default_rng(0)
    params = tree(generator, parameters)
    gradient = tree(generator, parameters)
    recorder = Recorder(folder, recipe={"rule": "sgd", "lr": RATE})
    recorder.start(params)
    for t in range(updates):
        sign = np.float32(1 if t % 2 == 0 else -1)
        stepped = {n: params[n] - np.float32(RATE) * sign * g for n, g in gradient.items()}
        if jitter and t == 0:  # the last digit of one number in a million
            stepped["layer0"][::1_000_000] = np.nextafter(stepped["layer0"][::1_000_000], 0)
        recorder.update({n: sign * g for n, g in gradient.items()}, stepped, loss=1.0)
        params = stepped


def resident() -> int:
    """The largest memory of this process so far (Linux), without that of the one it comes from."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def compare(folder: Path) -> None:
    """Prints the memory before and after, and what was found."""
    before, began = resident(), time.monotonic()
    found = difference(DiskRecording(folder / "a"), DiskRecording(folder / "b"))
    seconds = time.monotonic() - began
    print(before, resident(), f"{seconds:.0f}", str(found).splitlines()[0][:60], sep="\t")


def main(folder: Path, rows: int = len(ROWS)) -> None:
    """Prints the first rows of the table."""
    print("| parameters | updates | GB read | memory before | largest | s | found |")
    print("|--:|--:|--:|--:|--:|--:|---|")
    for parameters, updates in ROWS[:rows]:
        for name in ("a", "b"):
            write(folder / name, parameters, updates, jitter=name == "a")
        command = [sys.executable, "-m", "benchmarks.recordings_memory", str(folder), "compare"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, after, seconds, told = done.stdout.strip().split("\t")
        size = 2 * 4 * parameters * (2 * updates + 1) / 1e9
        print(
            f"| {parameters:,} | {updates} | {size:.1f} | {int(before) / 1e6:.0f} MB "
            f"| {int(after) / 1e6:.0f} MB | {seconds} | {told} |",
            flush=True,
        )
        for name in ("a", "b"):
            shutil.rmtree(folder / name)


if __name__ == "__main__":
    if sys.argv[2:] == ["compare"]:
        compare(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
