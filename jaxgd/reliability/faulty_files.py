"""A layer below all files of a folder: it fails at the k-th operation, and loses the unsynced.

It stands where Python asks the system: no file is faked, and no root is needed.
"""

import builtins
import errno
import io
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

How = Literal["EIO", "ENOSPC", "full", "short", "torn", "crash"]
HOWS: tuple[How, ...] = ("EIO", "ENOSPC", "full", "short", "torn")

Listing = dict[str, int]  # the names of a directory, and which file each is


class Crash(BaseException):
    """The process is no more: not even a `finally` reaches the disk."""


class FaultyFiles:
    """Counts the operations below a folder while it is entered; the k-th, from 0, fails.

    `EIO` and `ENOSPC` fail once, `full` is ENOSPC from there on, `short` moves half of the bytes
    and says so, `torn` moves half and fails; `crash` ends everything: `after_crash` is then what a
    disk may hold.
    """

    def __init__(self, folder: Path, at: int | None = None, how: How = "EIO") -> None:
        self.folder, self.at, self.how = folder.resolve(), at, how
        self.operations, self.dead, self._counts = 0, False, True
        self._real = {name: getattr(os, name) for name in _PATCHED}
        self._open_really = io.open
        self._held: dict[int, int] = {}  # a descriptor of each file: its number is not given anew
        self._content: dict[int, bytes] = {}  # of each file, as it was synced
        self._names: dict[Path, Listing] = {}  # of each directory, as it was synced
        for directory in self._directories():
            self._names[directory] = self._listing(directory)
            for path in directory.iterdir():
                if path.is_file():
                    self._content[path.stat().st_ino] = path.read_bytes()

    def __enter__(self) -> "FaultyFiles":
        replaced = {(io, "open"): self._open, (builtins, "open"): self._open}
        replaced |= {(os, name): self._asking(name) for name in _PATCHED}
        self._patches = [mock.patch.object(where, name, new)
                         for (where, name), new in replaced.items()]  # fmt: skip
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()
        self._written: dict[int, bytes] = {}
        self._now = {directory: self._listing(directory) for directory in self._directories()}
        for descriptor in self._held.values():
            size = os.fstat(descriptor).st_size
            self._written[os.fstat(descriptor).st_ino] = os.pread(descriptor, size, 0)
            os.close(descriptor)

    def after_crash(self, target: Path, seed: int) -> None:
        """Write what the disk may hold after a crash: seed 0 loses nothing, 1 all that was not
        synced, 2 contents but no names, 3 names but no contents, others some of both."""
        chance = random.Random(seed)
        content_kept = {0: 1.0, 1: 0.0, 2: 0.0, 3: 1.0}.get(seed, 0.5)
        names_kept = {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0}.get(seed, 0.5)

        def content(number: int) -> bytes:
            synced, written = self._content.get(number, b""), self._written.get(number)
            if written is None or chance.random() < content_kept:
                return synced if written is None else written
            return written[: chance.randint(len(synced), len(written))] if seed > 3 else synced

        def restore(directory: Path, to: Path) -> None:
            to.mkdir()
            was, now = self._names.get(directory, {}), self._now.get(directory, {})
            for name in sorted(was.keys() | now.keys()):
                listing = now if chance.random() < names_kept else was
                if name not in listing:
                    continue
                if directory / name in self._now or directory / name in self._names:
                    restore(directory / name, to / name)
                else:
                    (to / name).write_bytes(content(listing[name]))

        restore(self.folder, target)

    def step(self, moves: bool = False) -> bool:
        """Count an operation, and fail if it is its turn; whether only half is to be moved."""
        if not self._counts:
            return False
        number, self.operations = self.operations, self.operations + 1
        if self.dead:
            raise Crash
        if self.at is None or number < self.at or (number > self.at and self.how != "full"):
            return False
        if self.how == "crash":
            self.dead = True
            raise Crash
        if self.how in ("short", "torn") and moves:
            return True
        if self.how == "short":
            return False
        raise OSError(getattr(errno, "EIO" if self.how == "EIO" else "ENOSPC"), "as told")

    def fsync(self, descriptor: int) -> None:
        """Sync a file, or the names in a directory, and remember that it is safe."""
        self.step()
        self._real["fsync"](descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            with self._uncounted():
                path = next(d for d in self._directories() if d.stat().st_ino == status.st_ino)
                self._names[path] = self._listing(path)
        elif status.st_ino in self._held:
            held = self._held[status.st_ino]
            self._content[status.st_ino] = os.pread(held, status.st_size, 0)

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def _mine(self, path: Any) -> bool:
        try:
            # Path.resolve would ask the file system.
            full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
            return Path(full).is_relative_to(self.folder)
        except TypeError:  # a descriptor
            return False

    def _asking(self, name: str) -> Callable[..., Any]:
        """The operation of the system, once it has been counted."""
        real = self._real[name]
        if name == "fsync":
            return self.fsync

        def asked(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self._mine(path):
                self.step()
            done = real(path, *args, **kwargs)
            if name == "replace" and Path(path) in self._names:  # a directory, with what is in it
                self._names[Path(args[0])] = self._names.pop(Path(path))
            return done

        return asked

    def _open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not self._mine(file):
            return self._open_really(file, mode, *args, **kwargs)
        self.step()
        raw = _Raw(self, io.FileIO(file, mode.replace("b", "").replace("t", "")))
        if not raw.writable():
            buffered: Any = io.BufferedReader(raw)
        else:
            buffered = io.BufferedWriter(raw)
            descriptor = self._real["open"](file, os.O_RDONLY)
            self._held[os.fstat(descriptor).st_ino] = descriptor
        if "b" in mode:
            return buffered
        text: Any = io.TextIOWrapper(buffered, kwargs.get("encoding"))
        text.mode = mode  # as the real one sets it
        return text

    def _directories(self) -> list[Path]:
        return [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]

    def _listing(self, directory: Path) -> Listing:
        return {path.name: path.stat().st_ino for path in directory.iterdir()}


# What goes through them is counted; a close never is.
_PATCHED = ("open", "fsync", "replace", "unlink", "mkdir", "stat", "listdir", "scandir")


class _Raw(io.RawIOBase):
    """A file of which each read and write is counted."""

    def __init__(self, files: FaultyFiles, file: io.FileIO) -> None:
        self._files, self._file = files, file
        self.name, self.mode = file.name, file.mode

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, to: int, whence: int = 0) -> int:
        return self._file.seek(to, whence)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        return self._file.readinto(view[: self._moved(len(view))]) or 0

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        count = self._moved(len(view))
        written = self._file.write(view[:count]) or 0
        if count < len(view) and self._files.how == "torn":
            raise OSError(errno.ENOSPC, "as told")
        return written

    def close(self) -> None:
        super().close()
        self._file.close()

    def _moved(self, count: int) -> int:
        return max(1, count // 2) if self._files.step(moves=True) else count
