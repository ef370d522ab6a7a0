"""A training, written to disk update by update. This file needs NumPy alone: copy it anywhere.

    recorder = Recorder("run", seed=0, optimizer="AdamW(lr=1e-3)", batch_size=32)
    recorder.start(params, buffers)
    recorder.update(gradient, updated, batch=(x, y), outputs=outputs, loss=loss)    # for each one

A recording is a folder. Each file is in the safetensors format, and each tensor's name is a stage,
a slash, and the path in the stage's pytree ("gradient/layers.0.weight"):

    manifest.json              format, version, updates, every, the configuration, and digests
    start.safetensors          params, and buffers if there are any, before the first update
    00000.safetensors, …       of each update kept: gradient, updated, and what else was given of
                               batch, outputs, loss, opt_state, updated_buffers, params, buffers

`params` and `buffers` of an update are those that the update before left, and are written only
where that is not so: in a recording in lockstep, and where only every k-th update is kept.

Each file holds its SHA-256 and that of the file before, and the manifest its own and that of the
last one: a recording is one chain. A file is synced before the manifest, which is written aside and
renamed after each update, speaks of it: a run that is killed leaves a recording.
"""

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

FORMAT, VERSION = "training recording", 1

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
    "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


class Recorder:
    """Writes a recording into a folder, which it makes."""

    def __init__(self, folder: str | Path, *, every: int = 1, **configuration: Any) -> None:
        self._folder, self._every = Path(folder), every
        self._configuration = {**_machine(), **configuration}
        self._seen = 0
        self._before: dict[str, Any] = {}
        self._last = ""  # the digest of the file written last
        self._folder.mkdir(parents=True, exist_ok=False)
        _sync(self._folder.parent)

    def start(self, params: Any, buffers: Any = None) -> None:
        """Writes what the first update begins with."""
        self._before = {"params": _kept(params), "buffers": _kept(buffers)}
        self._write("start.safetensors", self._before)
        self._write_manifest()

    def update(
        self, gradient: Any, updated: Any, *, params: Any = None, buffers: Any = None, **stages: Any
    ) -> None:
        """Writes one update: what `jaxgd.equivalence.Update` holds, by the same names."""
        if self._seen % self._every == 0:
            given = {"params": params, "buffers": buffers}
            if self._every > 1:
                given = {name: self._before[name] if v is None else v for name, v in given.items()}
            name = f"{self._seen // self._every:05d}.safetensors"
            self._write(name, {"gradient": gradient, "updated": updated, **given, **stages})
        self._seen += 1
        if self._every > 1:
            left = {"params": updated, "buffers": stages.get("updated_buffers")}
            self._before = {name: _kept(tree) for name, tree in left.items()}
        self._write_manifest()

    def _write(self, name: str, stages: Mapping[str, Any]) -> None:
        self._last = _write(self._folder / name, stages, self._last)
        _sync(self._folder)  # or the manifest could outlive the name of what it speaks of

    def _write_manifest(self) -> None:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "updates": self._seen,
            "every": self._every,
            "last": self._last,
            "configuration": self._configuration,
        }
        told = json.loads(json.dumps(manifest, default=str))
        text = json.dumps(told | {"sha256": digest(told, ())}, indent=1, sort_keys=True)
        path, part = self._folder / "manifest.json", self._folder / ".manifest.json.part"
        try:
            _write_synced(part, [text.encode()])
            part.replace(path)
            _sync(self._folder)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _machine() -> dict[str, Any]:
    """Versions and precision flags of the frameworks that are loaded; none is imported."""
    found: dict[str, Any] = {"python": platform.python_version(), "numpy": np.__version__}
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None:
        found["torch"] = torch.__version__
        found["torch default dtype"] = str(torch.get_default_dtype())
        found["torch matmul precision"] = torch.get_float32_matmul_precision()
        found["torch deterministic"] = torch.are_deterministic_algorithms_enabled()
    if jax is not None:
        found["jax"] = jax.__version__
        found["jax backend"] = jax.default_backend()
        found["jax x64"] = jax.config.jax_enable_x64
        found["jax matmul precision"] = str(jax.config.jax_default_matmul_precision)
    return found


def digest(header: Mapping[str, Any], content: Iterable[bytes]) -> str:
    """SHA-256 of a JSON header, however it is spaced, and of the bytes after it."""
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for piece in content:
        found.update(piece)
    return found.hexdigest()


def _write(path: Path, stages: Mapping[str, Any], before: str) -> str:
    """One safetensors file: the header's length in 8 bytes, the header in JSON, the bytes.

    Its digest, with that of the file before in it.
    """
    header: dict[str, Any] = {"__metadata__": {"before": before, "name": path.name}}
    chunks, end = [], 0
    for stage, tree in stages.items():
        for keys, leaf in _leaves(tree, ()):
            name, shape, content = _bytes_of(leaf)
            offsets = [end, end := end + len(content)]
            at = f"{stage}/{'.'.join(keys)}"
            header[at] = {"dtype": name, "shape": shape, "data_offsets": offsets}
            chunks.append(content)
    header["__metadata__"]["sha256"] = found = digest(header, chunks)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    _write_synced(path, [len(text).to_bytes(8, "little") + text, *chunks])
    return found


def _write_synced(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make new names outlive a power cut, where a folder can be opened."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Kept:
    """A copy of a leaf: the model's own changes in place."""

    def __init__(self, leaf: Any) -> None:
        self.content = _bytes_of(leaf)


def _kept(tree: Any) -> dict[str, _Kept]:
    return {".".join(keys): _Kept(leaf) for keys, leaf in _leaves(tree, ())}


def _bytes_of(leaf: Any) -> tuple[str, list[int], bytes]:
    if isinstance(leaf, _Kept):
        return leaf.content
    if hasattr(leaf, "detach"):  # a torch tensor
        leaf = leaf.detach().cpu().contiguous()
        if str(leaf.dtype) == "torch.bfloat16":  # which NumPy does not know: its bits
            bits = leaf.view(sys.modules["torch"].int16).numpy()
            return "BF16", list(bits.shape), bits.tobytes()
        leaf = leaf.numpy()
    array = np.asarray(leaf)
    if array.dtype.name not in _NAMES:
        raise TypeError(
            f"A recording holds real numbers; got {array.dtype}. Leave it out of the recording."
        )
    return _NAMES[array.dtype.name], list(array.shape), array.tobytes()


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of dicts, lists, tuples, NamedTuples and dataclasses, with the keys to them."""
    children: Any
    if tree is None or (callable(tree) and not hasattr(tree, "dtype")):
        return
    if isinstance(tree, Mapping):
        children = tree.items()
    elif hasattr(tree, "_fields"):
        children = zip(tree._fields, tree, strict=True)
    elif isinstance(tree, list | tuple):
        children = enumerate(tree)
    elif dataclasses.is_dataclass(tree):
        fields = [f.name for f in dataclasses.fields(tree) if not f.metadata.get("static", False)]
        children = [(name, getattr(tree, name)) for name in fields]
    else:
        yield keys, tree
        return
    for key, child in children:
        yield from _leaves(child, (*keys, str(key)))
