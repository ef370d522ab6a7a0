"""A recording on disk, read as a sequence of updates: what is as large as the model stays there."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from ml_dtypes import bfloat16

from jaxgd.equivalence.recordings.disk_array import OnDisk
from jaxgd.equivalence.recordings.layers import nested
from jaxgd.equivalence.recordings.recorder import FORMAT, VERSION
from jaxgd.equivalence.recordings.update import Update

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": bfloat16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32,
    "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip

# Read when an update is: they are as large as a batch. The others are as large as the model.
_SMALL = {"batch", "outputs", "loss"}


class DiskRecording(Sequence[Update]):
    """The updates of a recording, each read when it is asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            raise ValueError(f"A recording is a folder with a manifest.json; {folder} has none.")
        self.manifest = json.loads(manifest.read_text(encoding="utf-8"))
        found = self.manifest.get("format"), self.manifest.get("version")
        if found[0] != FORMAT or not isinstance(found[1], int) or found[1] > VERSION:
            raise ValueError(
                f"{folder} must be a {FORMAT} of version {VERSION} or lower; got {found[0]} of "
                f"version {found[1]}. Update jaxgd, or record anew."
            )

    @property
    def configuration(self) -> dict[str, Any]:
        """What was noted of the run: seeds, versions, precision flags, options."""
        return self.manifest["configuration"]

    def __len__(self) -> int:
        return -(-self.manifest["updates"] // self.manifest["every"])

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
        stages = self._stages(at)
        for name in ("params", "buffers"):
            stages.setdefault(name, self._before(at).get(name))
        stages = {name: tree for name, tree in stages.items() if tree is not None}
        return Update(**({"params": None, "gradient": {}, "updated": None} | stages))

    def __iter__(self) -> Iterator[Update]:
        return (self[at] for at in range(len(self)))

    @cached_property
    def _start(self) -> dict[str, Any]:
        return read_stages(self.folder / "start.safetensors")

    def _stages(self, at: int) -> dict[str, Any]:
        return read_stages(self.folder / f"{at:05d}.safetensors")

    def _before(self, at: int) -> dict[str, Any]:
        """What the update before left, under the names of what this one begins with."""
        if at == 0:
            return self._start
        left = self._stages(at - 1)
        return {"params": left["updated"], "buffers": left.get("updated_buffers")}


def read_stages(path: Path) -> dict[str, Any]:
    """The stages of one file: dicts by path; a stage that is one array is that array."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        content = file.read(length)
    try:
        header = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged or truncated: {error}. Record it anew.") from None
    stages: dict[str, Any] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        stage, _, leaf = name.partition("/")
        first, last = entry["data_offsets"]
        array = OnDisk(path, 8 + length + first, tuple(entry["shape"]), _DTYPES[entry["dtype"]])
        if path.stat().st_size < 8 + length + last:
            raise ValueError(f"{path} is truncated: '{name}' is cut off. Record it anew.")
        stages.setdefault(stage, {})[leaf] = np.asarray(array) if stage in _SMALL else array
    if "activations" in stages:
        stages["activations"] = {"": nested(stages["activations"])}
    return {stage: tree[""] if tree.keys() == {""} else tree for stage, tree in stages.items()}
