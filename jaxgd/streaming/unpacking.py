"""The rows of a source as `.npy` files, which are read in any order."""

import os
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from jaxgd.inputs import check_count
from jaxgd.storage.verified_file import sync
from jaxgd.streaming.files import BLOCK, npy
from jaxgd.streaming.source import Source


def unpack(source: Source, directory: Path | str, *, block: int = BLOCK) -> Source:
    """The same rows as `.npy` files in a directory: a source that is read in any order.

    They are written `block` rows at a time, in JAX's own precision, one file a leaf, `0.npy` and so
    on in the tree's order. The directory has its name once all of them are whole and outlive a
    power cut; whatever ends the writing before leaves nothing behind.

    Raises what reading raises, ValueError for a directory that holds something and for rows that
    are not alike, TypeError for a dtype such as bfloat16, and OSError where there is no room.
    """
    block, directory = check_count("block", block), _vacant(Path(os.path.realpath(directory)))
    leaves, structure = jax.tree.flatten(source.rows(np.zeros(1, np.int32)))
    part = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        _write(source, leaves, part, block)
        sync(part)
        if directory.exists():
            directory.rmdir()
        part.replace(directory)
        sync(directory.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return npy(jax.tree.unflatten(structure, [directory / _name(i) for i in range(len(leaves))]))


def _write(source: Source, leaves: list[np.ndarray], directory: Path, block: int) -> None:
    """Files of as many rows as the source has; `leaves` have one."""
    with ExitStack() as stack:
        files = [stack.enter_context((directory / _name(i)).open("xb")) for i in range(len(leaves))]
        for file, leaf in zip(files, leaves, strict=True):
            _begin(file, leaf.dtype, (source.n, *leaf.shape[1:]))
        for start in range(0, source.n, block):
            rows = np.arange(start, min(start + block, source.n), dtype=np.int32)
            for file, leaf, like in zip(
                files, jax.tree.leaves(source.rows(rows)), leaves, strict=True
            ):
                file.write(np.ascontiguousarray(_alike(leaf, like)).data)
        for file in files:
            file.flush()
            os.fsync(file.fileno())


def _begin(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.isbuiltin == 2:
        raise TypeError(f"rows must be of dtypes that NumPy has; got {dtype}. Use float32.")
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def _alike(leaf: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The rows; ValueError unless they are of the first one's dtype and shape."""
    if (leaf.dtype, leaf.shape[1:]) != (like.dtype, like.shape[1:]):
        raise ValueError(
            f"rows must be alike; got {leaf.dtype}{list(leaf.shape[1:])} after {like.dtype}"
            f"{list(like.shape[1:])}. Convert them in read."
        )
    return leaf


def _name(leaf: int) -> str:
    return f"{leaf}.npy"


def _vacant(directory: Path) -> Path:
    """The directory; ValueError if there is something that would have to give way."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise ValueError(
            f"directory must be new or empty; got {directory}. Use jaxgd.streaming.npy on the "
            "files of an unpack before, or another directory."
        )
    return directory
