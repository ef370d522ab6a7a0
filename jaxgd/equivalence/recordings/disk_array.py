"""An array in a file, of which only what is asked for is read."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped


class OnDisk:
    """An array of that shape and dtype, whose bytes begin somewhere in a file."""

    def __init__(self, path: Path, at: int, shape: tuple[int, ...], dtype: Any) -> None:
        self._path, self._at = path, at
        self.shape, self.dtype = shape, np.dtype(dtype)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, in memory."""
        del copy  # there is nothing that could be shared
        array = self[:].reshape(self.shape)
        return array if dtype is None else array.astype(dtype)

    def reshape(self, *shape: int) -> "OnDisk":
        """The same array as one long row, the only shape that parts are read in."""
        if shape != (-1,):
            raise ValueError(f"An array on disk is read as one row; got {shape}. Use np.asarray.")
        return OnDisk(self._path, self._at, (self.size,), self.dtype)

    def __getitem__(self, part: slice) -> Shaped[np.ndarray, " entries"]:
        first, last, _ = part.indices(self.size)
        width, count = self.dtype.itemsize, max(last - first, 0)
        read = np.fromfile(self._path, self.dtype, count, offset=self._at + first * width)
        if len(read) != count:
            raise ValueError(f"{self._path} was truncated while it was read. Record it anew.")
        return read
