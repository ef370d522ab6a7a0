"""Whether there will be room for a file: better known before hours of work than after."""

import contextlib
import os
from pathlib import Path


def check_room(path: Path, size: int) -> None:
    """Raise OSError unless a file of so many bytes can be made where the path is.

    One is made beside it and taken away: permissions, file systems that cannot be written and full
    disks all show so, and nothing else tells of all of them. What fills up later it cannot know.
    """
    path = Path(os.path.realpath(path))
    trial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with trial.open("wb") as file:
            _allocate(file.fileno(), size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def _allocate(descriptor: int, size: int) -> None:
    """Take so many bytes of the disk, without writing them where the system can."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, max(1, size))
    else:
        os.write(descriptor, bytes(size))
        os.fsync(descriptor)
