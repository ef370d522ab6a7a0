"""Compiled programs kept from one command to the next, in the user's own cache."""

import os
from contextlib import suppress
from pathlib import Path

# Before, XLA refused its own programs on some CPUs, and said so at length.
_LEAST_JAXLIB = (0, 10, 2)

# Some 20 KB each; the oldest go.
_MOST_PROGRAMS, _MOST_BYTES = 1000, 100_000_000

# What JAX warns of when a program is being written by another process: it compiles it anew.
BUSY = "Error (reading|writing) persistent compilation cache"


def keep_programs() -> None:
    """Have JAX, which is not imported yet, keep what it compiles: the next run starts sooner.

    In `jaxgd` under XDG_CACHE_HOME (~/.cache), unless the user has told JAX where
    (JAX_COMPILATION_CACHE_DIR) or that it must not (JAX_ENABLE_COMPILATION_CACHE=false). Where that
    cannot be written nothing is kept, and nothing said.
    """
    off = os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "").lower() in ("0", "f", "false", "off")
    if off or "JAX_COMPILATION_CACHE_DIR" in os.environ or not _is_new_enough():
        return
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgd"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room(cache)
    except (OSError, RuntimeError):  # no home, or none that can be written
        return
    if os.access(cache, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")


def _is_new_enough() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return tuple(map(int, version("jaxlib").split(".")[:3])) >= _LEAST_JAXLIB
    except (PackageNotFoundError, ValueError):
        return False


def _make_room(cache: Path) -> None:
    """Take the oldest programs away, as many as are too many or too large."""
    programs = []
    for entry in os.scandir(cache):
        if not entry.name.endswith(("-cache", "-atime")):  # none of JAX's
            continue
        with suppress(FileNotFoundError):  # another process makes room as well
            found = entry.stat()
            programs.append((found.st_mtime, found.st_size, entry.path))
    kept_bytes = 0
    for place, (_, size, path) in enumerate(sorted(programs, reverse=True)):
        kept_bytes += size
        if place >= _MOST_PROGRAMS or kept_bytes > _MOST_BYTES:
            Path(path).unlink(missing_ok=True)
