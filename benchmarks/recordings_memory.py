"""Memory to compare two recordings on disk: `python -m benchmarks.recordings_memory DIR [ROW …]`.

A recording of N parameters and T updates holds N numbers of gradient and N of parameters an update.
Each row is a comparison in a process of its own: the bytes of both recordings, what the disk keeps
of them, the largest resident memory of that process, what it had before it read anything, how much
it read (each number twice: for its file's digest, and to be compared), and how long it took, by the
clock and of the processor.

A hundred million parameters times two hundred updates are 320 GB for both sides in float32. The
last row (number 4, made only if asked for) holds them as holes: of the parameters and gradients
every 64th page has numbers, the others are zero. The Recorder hashes every byte, and pages of zeros
are not written, which the disk reads as zeros from then on. So the comparison reads, hashes and
judges 320 GB, of which few are numbers. What memory it takes depends on the shapes, not on the
numbers: no code asks whether there is a zero.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgd.equivalence import DiskRecording, Recorder
from jaxgd.equivalence.diagnosis.of_recordings import difference
from jaxgd.equivalence.recordings import recorder as recorder_module


class Row(NamedTuple):
    """Two recordings; of `sparsity` pages of a leaf one holds numbers, the others are zero."""

    parameters: int
    updates: int
    sparsity: int = 1


ROWS = (Row(1_000_000, 20), Row(1_000_000, 200), Row(100_000_000, 2), Row(100_000_000, 200, 64))
LEAVES, RATE = 16, np.float32(0.5)
LARGEST = 0.4  # of the numbers, in the first leaf
PAGE = 1024  # numbers, of 4 bytes


def tree(generator: np.random.Generator, row: Row) -> dict[str, np.ndarray]:
    """Sixteen leaves, of one size but for the first, which is as large as an embedding."""
    first = int(LARGEST * row.parameters)
    sizes = [first, *[(row.parameters - first) // (LEAVES - 1)] * (LEAVES - 1)]
    leaves = {f"layer{i}": np.zeros(size, np.float32) for i, size in enumerate(sizes)}
    for leaf in leaves.values():
        numbers = dense(leaf, row.sparsity)
        numbers[...] = generator.standard_normal(numbers.shape, dtype=np.float32)
    return leaves


def dense(leaf: np.ndarray, sparsity: int) -> np.ndarray:
    """Of a leaf what holds numbers: all, or some of its pages."""
    if sparsity == 1:
        return leaf
    return leaf[: len(leaf) // PAGE * PAGE].reshape(-1, PAGE)[::sparsity]


def write(folder: Path, row: Row, *, jitter: bool) -> None:
    """Gradient descent there and back: every second gradient undoes the one before."""
    generator = np.random.default_rng(0)
    params, gradient = tree(generator, row), tree(generator, row)
    if row.sparsity > 1:
        recorder_module._write_synced = write_with_holes
    recorder = Recorder(folder, recipe={"rule": "sgd", "lr": float(RATE)})
    recorder.start(params)
    for t in range(row.updates):
        for name, leaf in params.items():
            numbers = dense(leaf, row.sparsity)
            numbers -= RATE * dense(gradient[name], row.sparsity)
            if jitter and t == 0:  # the last digit of one number in a million, the first of them
                leaf[::1_000_000] = np.nextafter(leaf[::1_000_000], 0)
        recorder.update(gradient, params, loss=1.0)
        for leaf in gradient.values():
            numbers = dense(leaf, row.sparsity)
            np.negative(numbers, out=numbers)


def write_with_holes(path: Path, chunks: Iterable[bytes]) -> None:
    """Writes a file, but for its pages of zeros: the disk keeps nothing of them."""
    with path.open("wb") as file:
        for chunk in map(memoryview, chunks):
            begin, whole = file.tell(), len(chunk) // (4 * PAGE) * 4 * PAGE
            pages = np.frombuffer(chunk[:whole], np.uint64).reshape(-1, PAGE // 2)
            for page in np.flatnonzero(pages.any(axis=1)):
                file.seek(begin + 4 * PAGE * int(page))
                file.write(pages[page])
            file.seek(begin + whole)
            file.write(chunk[whole:])
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def resident() -> int:
    """The largest memory of this process so far (Linux), without that of the one it comes from."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def bytes_read() -> int:
    """What this process has read so far (Linux), be it from disk or from the system's cache."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def compare(folder: Path) -> None:
    """Prints the memory before and after, what was read, the times, and what was found."""
    before, began, computed = resident(), time.monotonic(), time.process_time()
    read = -bytes_read()
    found = difference(DiskRecording(folder / "a"), DiskRecording(folder / "b"))
    seconds, of_processor = time.monotonic() - began, time.process_time() - computed
    read += bytes_read()
    told = str(found).splitlines()[0][:60]
    print(before, resident(), read, f"{seconds:.0f}", f"{of_processor:.0f}", told, sep="\t")


def on_disk(folder: Path) -> int:
    """The bytes that the disk keeps of a folder's files."""
    return sum(512 * file.stat().st_blocks for file in folder.rglob("*"))


def measured(folder: Path, row: Row) -> str:
    """A line of the table."""
    for name in ("a", "b"):
        write(folder / name, row, jitter=name == "a")
    command = [sys.executable, "-m", "benchmarks.recordings_memory", str(folder), "compare"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    before, after, read, *times, told = done.stdout.strip().split("\t")
    memory = [f"{int(size) / 1e6:.0f} MB" for size in (before, after)]
    size = 2 * 4 * row.parameters * (2 * row.updates + 1) / 1e9
    kept = on_disk(folder) / 1e9
    for name in ("a", "b"):
        shutil.rmtree(folder / name)
    cells = [
        f"{row.parameters:,}",
        row.updates,
        f"{size:.1f}",
        f"{kept:.1f}",
        *memory,
        f"{int(read) / 1e9:.1f} GB",
        *times,
        told,
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main(folder: Path, rows: list[int]) -> None:
    """Prints the table of the rows of those numbers, counted from one."""
    print("| parameters | updates | GB | on disk | before | largest | read | s | CPU s | found |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for number in rows or [1, 2, 3]:
        print(measured(folder, ROWS[number - 1]), flush=True)


if __name__ == "__main__":
    if sys.argv[2:] == ["compare"]:
        compare(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), [*map(int, sys.argv[2:])])
