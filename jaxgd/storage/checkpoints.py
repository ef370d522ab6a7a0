"""A directory of checkpoints: the newest are kept, and what a killed process left is cleared."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jaxtyping import PyTree

from jaxgd.storage.trees import Stored, read, save

_NAME = "checkpoint-{:012d}.safetensors"
_NAMES = re.compile(r"checkpoint-(\d{12})\.safetensors")


class Checkpoints:
    """Checkpoints of one run in a directory, each numbered by the updates that were done.

    `keep` of them are kept, the newest. A directory is one process's at a time: see `held`.
    """

    def __init__(self, directory: Path | str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1; got keep={keep}.")
        self.directory, self.keep = Path(directory), keep

    @contextmanager
    def held(self) -> Iterator[None]:
        """The directory made, and locked until the end of the block.

        Raises RuntimeError if another run holds it, OSError if it cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as lock:
            try:
                _lock(lock)
            except BlockingIOError:
                raise RuntimeError(
                    f"a directory of checkpoints is one run's at a time; {self.directory} is held "
                    "by another. Wait for it, or name another directory."
                ) from None
            for leftover in self.directory.glob(".checkpoint-*.part"):
                leftover.unlink()
            yield

    def save(self, updates: int, tree: PyTree, note: Mapping[str, Any]) -> Path:
        """Write a checkpoint, whole or not at all, and then let go of those that are too old."""
        path = self.directory / _NAME.format(updates)
        save(path, tree, note)
        older = [other for other in self.paths() if other.name < path.name]
        for other in self.paths():
            # One that lies ahead was damaged, and is passed again.
            if other not in (path, *older[: self.keep - 1]):
                other.unlink()
        return path

    def paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        if not self.directory.is_dir():
            return []
        return sorted(
            (path for path in self.directory.iterdir() if _NAMES.fullmatch(path.name)),
            reverse=True,
        )

    def newest(self) -> Stored | None:
        """The newest checkpoint that is whole, None if there are none at all.

        A damaged one is told in a warning and passed over. Raises ValueError if all are damaged:
        to begin anew would lose what they held.
        """
        damaged = []
        for path in self.paths():
            try:
                stored = read(path)
            except ValueError as error:
                damaged.append(str(error))
                continue
            for told in damaged:
                warnings.warn(f"{told} Using {path.name} instead.", stacklevel=2)
            return stored
        if damaged:
            raise ValueError(
                f"no checkpoint in {self.directory} is whole: {' '.join(damaged)} "
                "Restore one, or name another directory to begin anew."
            )
        return None


def _lock(file: TextIO) -> None:
    """Hold a file for this process, where the system has such locks (Windows has not)."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
