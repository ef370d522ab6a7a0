"""Named arrays and a note in one safetensors file: written whole, verified on load."""

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

_NOTE, _DIGEST = "note", "sha256"
_MOST_HEADER = 100_000_000  # bytes, as safetensors itself has it
# What a file system says that does not sync directories, or not for us.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
# What goes wrong in a program that is given other things than it was written for.
_MISFITS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    SafetensorError,
)


def write_atomically(path: Path, content: bytes) -> None:
    """Put the content at the path: afterwards the file is the whole new one, or as it was before.

    Once this has returned, the new one outlives a power cut. Of a link it is the target that is
    written.

    Raises OSError if the directory cannot be written, or if the path is a device, a pipe or a
    directory: a rename would put a file in its place.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path = Path(os.path.realpath(path))  # Path.resolve fails where a link points at itself
    # A name of its own: two threads, or two machines on one disk, may write the same path.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file, or the names in a directory, outlive a power cut, where its file system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextmanager
def refused_as_misfit(path: Path, kind: str) -> Iterator[None]:
    """What goes wrong in the block, told as a ValueError: the note does not say what is there.

    A digest is no signature: a file with the right one may still have been written by anybody.
    """
    try:
        yield
    except _MISFITS as error:
        raise ValueError(
            f"{path} is not as a {kind} is written: {type(error).__name__}: {error}. "
            "Restore or rewrite it."
        ) from None


def save_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    note: Mapping[str, Any],
    *,
    kind: str,
    version: int,
) -> None:
    """Write the arrays and a JSON note, with the kind and version of the file and a digest."""
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps({"kind": kind, "version": version, **note}, sort_keys=True)
    metadata = {_NOTE: text, _DIGEST: digest_of(text, arrays)}
    write_atomically(path, _in_order(safetensors.numpy.save(arrays, metadata)))


def _in_order(content: bytes) -> bytes:
    """The file with its header sorted: the same content is the same bytes, at every save.

    Safetensors itself writes the metadata in another order each time.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(content)[end:]])


def load_arrays(
    path: Path, *, kind: str, version: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the note of a file that `save_arrays` wrote with this kind.

    Nothing is unpickled. Safetensors itself loads a flipped bit in silence, so a SHA-256 of every
    byte that matters stands beside the note.

    Raises ValueError for a file that is truncated, damaged, of another kind or of a newer version.
    """
    try:
        content = _read(path)
        arrays = safetensors.numpy.load(content)
    except _MISFITS as error:
        raise ValueError(f"{path} is not a {kind}, or is damaged or truncated: {error}.") from None
    try:
        metadata = _metadata(content)
        note = json.loads(metadata[_NOTE])
        found, found_version, digest = note.pop("kind"), note.pop("version"), metadata[_DIGEST]
    except _MISFITS:
        raise ValueError(f"{path} is a safetensors file, but not a {kind}.") from None
    if found != kind:
        raise ValueError(f"{path} is a {found}, not a {kind}.")
    if not isinstance(found_version, int) or found_version > version:
        raise ValueError(
            f"{path} has format version {found_version}; this jaxgd reads up to {version}. "
            "Update jaxgd."
        )
    if digest != digest_of(metadata[_NOTE], arrays):
        raise ValueError(f"{path} is damaged: its SHA-256 does not match. Restore or rewrite it.")
    return arrays, note


def _read(path: Path) -> bytes:
    """All of a file that is as long as its header says, so that nothing else fills the memory.

    Raises ValueError if it is not, or has become unreadable; OSError if it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(8)
            length = int.from_bytes(first, "little")
            if length > min(size - 8, _MOST_HEADER):
                raise ValueError(f"its header of {length} bytes is cut off, or none")
            header = file.read(length)
            entries = {**json.loads(header)}
            entries.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
            if size != 8 + length + end:
                raise ValueError(f"it has {size} bytes, where its header speaks of {end} of data")
            return first + header + file.read()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise ValueError("the disk cannot read it") from None


def _metadata(content: bytes) -> dict[str, str]:
    """The free-form part of a safetensors header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def digest_of(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the note and of every array's name, dtype, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
