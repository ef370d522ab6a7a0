"""A directory of checkpoints: the newest are kept, and what a killed process left is cleared."""

import errno
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jaxtyping import PyTree

from jaxgd.storage.trees import Stored, read, save
from jaxgd.storage.verified_file import sync

_NAME = "checkpoint-{:012d}.safetensors"
_NAMES = re.compile(r"checkpoint-(\d{12})\.safetensors")
_SCORE = "score"
# What a file system says that has no locks: some of a network, of FUSE.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


class Checkpoints:
    """Checkpoints of one run in a directory, each numbered by the updates that were done.

    `keep` of them are kept, the newest; and of those that were given a score, the one with the
    lowest. A directory is one process's at a time, see `held`; any other may read it meanwhile.
    """

    def __init__(self, directory: Path | str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1; got keep={keep}.")
        self.directory, self.keep = Path(directory), keep
        self._scores: dict[Path, float] = {}  # of those seen; NaN for one without

    @contextmanager
    def held(self) -> Iterator[None]:
        """The directory made, and locked until the end of the block.

        Raises RuntimeError if another run holds it, OSError if it cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        sync(self.directory.parent)
        with (self.directory / ".lock").open("w") as lock, _locked(lock, self.directory):
            for leftover in self.directory.glob(".checkpoint*.part"):
                leftover.unlink()
            yield

    def save(
        self, updates: int, tree: PyTree, note: Mapping[str, Any], score: float | None = None
    ) -> Path:
        """Write a checkpoint, whole or not at all, and then let go of those that are too old."""
        path = self.directory / _NAME.format(updates)
        save(path, tree, note if score is None else {**note, _SCORE: score})
        self._scores[path] = math.nan if score is None else score
        paths = self.paths()
        older = [other for other in paths if other.name < path.name]
        kept = {path, *older[: self.keep - 1], self._best([path, *older])}
        for other in paths:
            # One that lies ahead was damaged, and is passed again.
            if other not in kept:
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
            except FileNotFoundError:  # its run has let it go since, for a newer one
                return self.newest()
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

    def best(self) -> Stored | None:
        """The whole checkpoint with the lowest score, the newest of equals; None without any.

        A damaged one is told in a warning and passed over.
        """
        for path in self.paths():
            try:
                self._scores[path] = _score_in(read(path))
            except FileNotFoundError:  # its run has let it go since
                continue
            except ValueError as error:
                self._scores[path] = math.nan
                warnings.warn(f"{error} It may have been the best.", stacklevel=2)
        best = self._best(self.paths())
        try:
            return None if best is None else read(best)
        except FileNotFoundError:  # for a better one
            return self.best()

    def is_best(self, score: float) -> bool:
        """Whether a score is lower than that of every whole checkpoint."""
        path = self._best(self.paths())
        return not math.isnan(score) and (path is None or score < self._scores[path])

    def _best(self, paths: list[Path]) -> Path | None:
        scores = [(score, path) for path in paths if not math.isnan(score := self._score(path))]
        return min(scores, key=lambda pair: pair[0])[1] if scores else None

    def _score(self, path: Path) -> float:
        if path not in self._scores:
            try:
                self._scores[path] = _score_in(read(path))
            except (OSError, ValueError):
                self._scores[path] = math.nan
        return self._scores[path]


def _score_in(stored: Stored) -> float:
    score = stored.note.get(_SCORE)
    return score if isinstance(score, float) else math.nan


# Those that this process holds; a child that it forks does not.
_HELD: set[TextIO] = set()


def _let_go() -> None:
    while _HELD:
        _HELD.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def _locked(file: TextIO, directory: Path) -> Iterator[None]:
    """Hold a file for this process, where system and file system have such locks."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RuntimeError(
            f"a directory of checkpoints is one run's at a time; {directory} is held "
            "by another. Wait for it, or name another directory."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    else:
        _HELD.add(file)
    try:
        yield
    finally:
        if file in _HELD:
            # Said, not left to the file's end: a child may not have closed its own yet.
            _HELD.discard(file)
            fcntl.flock(file, fcntl.LOCK_UN)
