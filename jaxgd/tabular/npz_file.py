"""Tables in NumPy's archives of arrays."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

# What zipfile and NumPy raise for an archive that is damaged, encrypted, packed otherwise, or that
# declares more than memory holds.
_NO_NPZ = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, AttributeError,
           TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)  # fmt: skip


def read_npz(content: Path | bytes, source: str) -> dict[str, np.ndarray]:
    """The columns in an NPZ: its 1-D arrays by their names, and column j of a 2-D `x` as `xj`."""
    try:
        # Opened here: np.load leaves a file that is no archive open.
        file = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        with file, np.load(file, allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in arrays.files}
    except _NO_NPZ as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{source} is not a readable NPZ file of plain arrays: {reason}."
        ) from None
    columns: dict[str, np.ndarray] = {}
    for name, array in named.items():
        if array.ndim not in (1, 2) or array.dtype.kind not in "biufUM":
            raise ValueError(
                f"an array must be 1-D or 2-D, of numbers, booleans or text; {name!r} of {source} "
                f"is {array.dtype} with shape {array.shape}."
            )
        if array.dtype.kind == "U":
            array = array.astype(object)
        added = {name: array} if array.ndim == 1 else _numbered(name, array)
        if twice := added.keys() & columns.keys():
            raise two_columns(source, min(twice))
        columns |= added
    lengths = {name: len(array) for name, array in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all arrays of {source} must have the same length; got {lengths}.")
    return columns


def two_columns(source: str, name: str) -> ValueError:
    """The error that two columns have one name."""
    return ValueError(f"{source} has two columns named {name!r}. Give every column its own name.")


def _numbered(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{j}": matrix[:, j] for j in range(matrix.shape[1])}
