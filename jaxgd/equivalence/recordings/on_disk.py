"""A recording on disk, read as a sequence of updates: what is as large as the model stays there."""

import errno
import json
import math
import operator
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from ml_dtypes import bfloat16

from jaxgd.equivalence.recordings.disk_array import OnDisk
from jaxgd.equivalence.recordings.layers import nested
from jaxgd.equivalence.recordings.pytree import in_memory
from jaxgd.equivalence.recordings.recorder import FORMAT, VERSION, digest
from jaxgd.equivalence.recordings.update import Update

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": bfloat16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32,
    "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip

_MOST_HEADER = 100_000_000  # bytes, as safetensors itself has it
_PIECE = 1 << 20

# Read when an update is: they are as large as a batch. The others are as large as the model.
_SMALL = {"batch", "outputs", "loss"}


class DiskRecording(Sequence[Update]):
    """The updates of a recording, each read when it is asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            raise ValueError(
                f"A recording is a folder with a manifest.json; {folder} has none. "
                "Give the folder that a Recorder wrote."
            )
        with refused_as_damaged(manifest):
            if (size := manifest.stat().st_size) > _MOST_HEADER:
                raise ValueError(f"no manifest has {size} bytes")
            self.manifest = {**json.loads(manifest.read_text(encoding="utf-8"))}
            found = self.manifest.get("format"), self.manifest.get("version")
        if found != (FORMAT, VERSION):
            raise ValueError(
                f"{folder} must be a {FORMAT} of version {VERSION}; got {found[0]} of "
                f"version {found[1]}. Update jaxgd, or record anew."
            )
        with refused_as_damaged(manifest):
            if self.manifest.pop("sha256", None) != digest(self.manifest, ()):
                raise ValueError("its SHA-256 is missing or does not match")
            self._updates = operator.index(self.manifest["updates"])
            self._every = operator.index(self.manifest["every"])
            if not 0 <= self._updates <= sys.maxsize or self._every < 1:
                raise ValueError(f"{self._updates} updates, one in {self._every} of them kept")
            self.manifest["configuration"], self.manifest["last"]
        self._digests: dict[str, str] = {}  # of the files that were read, and found whole

    @property
    def configuration(self) -> dict[str, Any]:
        """What was noted of the run: seeds, versions, precision flags, options."""
        return self.manifest["configuration"]

    @property
    def keep(self) -> str:
        """What was kept of stages as large as the model: arrays, sketches or digests."""
        return self.manifest.get("keep", "arrays")

    def __len__(self) -> int:
        return -(-self._updates // self._every)

    @overload
    def __getitem__(self, at: int) -> Update: ...
    @overload
    def __getitem__(self, at: slice) -> list[Update]: ...
    def __getitem__(self, at: int | slice) -> Update | list[Update]:
        """The update, or some of them."""
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        at %= len(self)
        stages = self._read(at)
        for name in ("params", "buffers"):
            stages.setdefault(name, self._before(at).get(name))
        with refused_as_damaged(self.folder / _name(at)):
            stages = {
                name: in_memory(tree) if name in _SMALL else tree
                for name, tree in stages.items()
                if tree is not None
            }
            return Update(**({"params": None, "gradient": {}, "updated": None} | stages))

    def __iter__(self) -> Iterator[Update]:
        return (self[at] for at in range(len(self)))

    @cached_property
    def _start(self) -> dict[str, Any]:
        return self._read(-1)

    def _read(self, at: int) -> dict[str, Any]:
        """The stages of an update's file, once it is known to be whole and the chain's link."""
        path = self.folder / _name(at)
        with refused_as_damaged(path):
            header, begin = read_header(path)
            told = header["__metadata__"]
            if path.name not in self._digests:
                found = told.pop("sha256")
                if found != digest(header, _pieces(path, begin)) or told["name"] != path.name:
                    raise ValueError("its SHA-256 does not match")
                self._digests[path.name] = found
            if at >= 0 and told["before"] != self._said_by(at - 1):
                raise ValueError("it does not go on from the file before it")
            if at == len(self) - 1 and self._digests[path.name] != self.manifest["last"]:
                raise ValueError("it is not the last one that the manifest speaks of")
            return _stages_of(path, header, begin)

    def _said_by(self, at: int) -> str:
        """The digest that a file says of itself."""
        return read_header(self.folder / _name(at))[0]["__metadata__"]["sha256"]

    def _before(self, at: int) -> dict[str, Any]:
        """What the update before left, under the names of what this one begins with."""
        if at == 0:
            return self._start
        left = self._read(at - 1)
        return {"params": left.get("updated"), "buffers": left.get("updated_buffers")}


def _name(at: int) -> str:
    return "start.safetensors" if at < 0 else f"{at:05d}.safetensors"


@contextmanager
def refused_as_damaged(path: Path) -> Iterator[None]:
    """Whatever goes wrong with what nobody of us has written is a ValueError that names the file.

    An OSError stays one, unless the disk itself cannot read.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise ValueError(f"{path} is damaged: the disk cannot read it. Record it anew.") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
            RecursionError) as error:  # fmt: skip
        raise ValueError(f"{path} is damaged or truncated: {error}. Record it anew.") from None


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file that is as long as it says, and where the data begin."""
    if not stat.S_ISREG((status := path.stat()).st_mode):  # a pipe would be waited for
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(status.st_size - 8, _MOST_HEADER):
            raise ValueError(f"its header of {length} bytes is cut off, or none")
        header = {**json.loads(file.read(length))}
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if status.st_size != 8 + length + max(ends, default=0):
        raise ValueError(f"it has {status.st_size} bytes, its header speaks of other data")
    return header, 8 + length


def _pieces(path: Path, begin: int) -> Iterator[bytes]:
    """The bytes of a file from there on, some at a time."""
    with path.open("rb") as file:
        file.seek(begin)
        while piece := file.read(_PIECE):
            yield piece


def _stages_of(path: Path, header: dict[str, Any], begin: int) -> dict[str, Any]:
    """The stages of one file: dicts by path; a stage that is one array is that array."""
    stages: dict[str, Any] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        stage, _, leaf = name.partition("/")
        first, last = map(operator.index, entry["data_offsets"])
        shape, dtype = tuple(map(operator.index, entry["shape"])), np.dtype(_DTYPES[entry["dtype"]])
        if first < 0 or min(shape, default=0) < 0 or (
            math.prod(shape) * dtype.itemsize != last - first
        ):  # fmt: skip
            raise ValueError(f"'{name}' has other bytes than its shape")
        stages.setdefault(stage, {})[leaf] = OnDisk(path, begin + first, shape, dtype)
    if "activations" in stages:
        stages["activations"] = {"": nested(stages["activations"])}
    return {stage: tree[""] if tree.keys() == {""} else tree for stage, tree in stages.items()}
