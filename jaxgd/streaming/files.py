"""Sources on disk: NumPy's files, mapped; Parquet and Arrow, a block of rows at a time."""

import importlib
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.inputs import check_count, count_examples
from jaxgd.streaming.blocks import Blocks, blockwise
from jaxgd.streaming.source import Source, aligned

# Rows of a block: about what writers of Parquet put into a row group.
BLOCK = 2**16


def npy(paths: PyTree, *, fits: bool | None = None) -> Source:
    """The rows of `.npy` files that are mapped into memory, in the structure of their paths.

    `npy(("x.npy", "y.npy"))` has the examples of `(np.load("x.npy"), np.load("y.npy"))`. Only rows
    that are asked for are read, and what the system keeps of them it may let go at any time. Files
    that memory cannot hold (`fits=False`, by default told from their size) are read otherwise: all
    rows of a segment are asked of the disk at once, and none beside them.

    Raises ValueError for files that are no plain arrays, or not of one length; OSError for one
    that cannot be opened.
    """
    files = jax.tree.map(_mapped, paths)
    if fits is None:
        fits = sum(file.nbytes for file in jax.tree.leaves(files)) < _memory()
    if not fits:
        jax.tree.map(_read_by_row, files)

    def read(rows: np.ndarray) -> PyTree:
        if not fits:
            jax.tree.map(lambda file: _ask(file, rows), files)
        return jax.tree.map(lambda file: _taken(file, rows), files)

    return Source(read, count_examples(files), fresh=True)


def parquet(
    path: Path | str,
    columns: PyTree,
    *,
    block: int = BLOCK,
    window: int = 8,
) -> Source:
    """The rows of a Parquet file: `columns` is a tree of columns' names.

    A list of names is a matrix [n, d], a name a vector: `(["a", "b"], "y")` has examples (x, y).
    Rows are read `block` at a time, the row groups that hold them and no others, and come in the
    order `blockwise(block, window)`, so that `window` blocks are in memory. A `block` of the size
    of the file's row groups reads each of them once an epoch. Where any row may share a batch with
    any other, `unpack` it.

    Raises ValueError for a file that is none, or has no such column; ModuleNotFoundError without
    polars (the extra `cli`).
    """
    return _table(_polars().scan_parquet, Path(path), columns, block, window)


def arrow(
    path: Path | str,
    columns: PyTree,
    *,
    block: int = BLOCK,
    window: int = 8,
) -> Source:
    """The rows of an Arrow IPC file (`.arrow`, `.feather`), read as `parquet` does."""
    return _table(_polars().scan_ipc, Path(path), columns, block, window)


def _mapped(path: Path | str) -> np.memmap:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is no .npy file of a plain array: {error}. Write one with numpy.save."
        ) from None
    if not isinstance(array, np.memmap):
        raise ValueError(f"{path} is an archive, which cannot be mapped. Save one array a file.")
    return array


def _taken(file: np.memmap, rows: np.ndarray) -> np.ndarray:
    room = aligned((len(rows), *file.shape[1:]), file.dtype)
    return np.take(np.asarray(file), rows, axis=0, out=room, mode="clip")  # others copy it twice


def _memory() -> int:
    """The bytes of memory that this machine has, where it tells."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_by_row(file: np.memmap) -> None:
    """Nothing around a row is read with it: the system would read 128 kB each."""
    if hasattr(mmap, "MADV_RANDOM"):
        _mapping(file).madvise(mmap.MADV_RANDOM)


def _mapping(file: Any) -> mmap.mmap:
    """The mapping below NumPy's array."""
    return file._mmap


def _ask(file: np.memmap, rows: np.ndarray) -> None:
    """Have the system begin to read these rows, all at once."""
    if not (hasattr(mmap, "MADV_WILLNEED") and file.flags.c_contiguous):
        return
    size, mapping = file.nbytes // len(file), _mapping(file)
    starts = rows.astype(np.int64) * size + file.offset % mmap.ALLOCATIONGRANULARITY
    pages = starts // mmap.PAGESIZE * mmap.PAGESIZE
    for page, start in zip(pages.tolist(), starts.tolist(), strict=True):
        mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)


def _table(
    scan: Callable[[Path], Any], path: Path, columns: PyTree, block: int, window: int
) -> Source:
    block, window = check_count("block", block), check_count("window", window)
    polars = _polars()
    with path.open("rb"):
        pass  # OSError in its own words
    names = [*dict.fromkeys(name for leaf in _leaves(columns) for name in _listed(leaf))]
    try:
        frame = scan(path).select(names)
        n = scan(path).select(polars.len()).collect().item()
        frame.collect_schema()
    except polars.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be read as a table of {names}: {reason}.") from None

    def rows_from(start: int, stop: int) -> PyTree:
        part = frame.slice(start, stop - start).collect()
        return jax.tree.map(lambda leaf: _array(part, leaf), columns, is_leaf=_is_columns)

    return Source(Blocks(rows_from, n, block, window), n, blockwise(block, window), fresh=True)


def _array(frame: Any, columns: str | Sequence[str]) -> np.ndarray:
    if isinstance(columns, str):
        return frame[columns].to_numpy()
    return frame.select(columns).to_numpy(order="c")


def _leaves(columns: PyTree) -> list[Any]:
    return jax.tree.leaves(columns, is_leaf=_is_columns)


def _is_columns(leaf: Any) -> bool:
    return isinstance(leaf, list) and all(isinstance(name, str) for name in leaf)


def _listed(leaf: str | list[str]) -> list[str]:
    return [leaf] if isinstance(leaf, str) else leaf


def _polars() -> Any:
    try:
        return importlib.import_module("polars")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'reading tables needs {error.name}: pip install "jaxgd[cli]"', name=error.name
        ) from None
