"""Named arrays and a note in one safetensors file: written whole, verified on load."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

_NOTE, _DIGEST = "note", "sha256"


def write_atomically(path: Path, content: bytes) -> None:
    """Put the content at the path: afterwards the file is the whole new one, or as it was before.

    Of a link it is the target that is written.

    Raises OSError if the directory cannot be written, or if the path is a device, a pipe or a
    directory: a rename would put a file in its place.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path = Path(os.path.realpath(path))  # Path.resolve fails where a link points at itself
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Make a rename outlive a power cut, where the file system lets a directory be synced."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    metadata = {_NOTE: text, _DIGEST: _digest(text, arrays)}
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
    content = path.read_bytes()
    try:
        arrays = safetensors.numpy.load(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a {kind}, or is damaged or truncated: {error}.") from None
    try:
        metadata = _metadata(content)
        note = json.loads(metadata[_NOTE])
        found, found_version, digest = note.pop("kind"), note.pop("version"), metadata[_DIGEST]
    except (KeyError, ValueError, AttributeError):
        raise ValueError(f"{path} is a safetensors file, but not a {kind}.") from None
    if found != kind:
        raise ValueError(f"{path} is a {found}, not a {kind}.")
    if not isinstance(found_version, int) or found_version > version:
        raise ValueError(
            f"{path} has format version {found_version}; this jaxgd reads up to {version}. "
            "Update jaxgd."
        )
    if digest != _digest(metadata[_NOTE], arrays):
        raise ValueError(f"{path} is damaged: its SHA-256 does not match. Restore or rewrite it.")
    return arrays, note


def _metadata(content: bytes) -> dict[str, str]:
    """The free-form part of a safetensors header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the note and of every array's name, dtype, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
