"""A training, written to disk update by update. This file needs NumPy alone: copy it anywhere.

    recorder = Recorder("run", seed=0, optimizer="AdamW(lr=1e-3)", batch_size=32)
    recorder.start(params, buffers)
    recorder.update(gradient, updated, batch=(x, y), outputs=outputs, loss=loss)    # for each one

A recording is a folder. Each file is in the safetensors format, and each tensor's name is a stage,
a slash, and the path in the stage's pytree ("gradient/layers.0.weight"):

    manifest.json              format, version, updates, every, the configuration, and digests
    start.safetensors          params, and buffers if there are any, before the first update
    00000.safetensors, …       of each update kept: gradient, updated, and what else was given of
                               batch, outputs, loss, opt_state, updated_buffers, params, buffers;
                               activations by layer, in forward order, whose names are
                               "activations/NAME/output", and "…/inputs", "…/gradient" if given

`params` and `buffers` of an update are those that the update before left, and are written only
where that is not so: in a recording in lockstep, and where only every k-th update is kept.

`keep` says what is kept of stages that are as large as the model: "arrays"; "sketches", 64 numbers
a leaf, each the sum of some of its entries with random signs (the same on both sides), so that a
sketch of a sum is the sum of sketches; or "digests", the SHA-256 of each leaf's bytes.

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

FORMAT, VERSION = "training recording", 2

SKETCH = 64  # numbers a leaf
_KEPT_AS = ("arrays", "sketches", "digests")
_LARGE = {"params", "updated", "gradient", "parts", "opt_state", "buffers", "updated_buffers"}

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
    "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip

# By a training's framework, those that have no say in it.
_OTHERS = {"torch": ("jax", "optax", "flax", "equinox", "haiku"), "jax": ("torch",), "": ()}

_PARTS = {"output", "inputs", "gradient"}  # of a layer


class Recorder:
    """Writes a recording into a folder, which it makes.

    every: keep every k-th update. keep: arrays, sketches or digests. optimizer: a torch optimizer,
    whose class and options are noted, or what you want to be noted of yours.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every: int = 1,
        keep: str = "arrays",
        optimizer: Any = None,
        **configuration: Any,
    ) -> None:
        if keep not in _KEPT_AS:
            raise ValueError(f"keep must be one of {', '.join(_KEPT_AS)}; got {keep!r}.")
        if not every >= 1:
            raise ValueError(f"every must be at least 1; got {every}. Use 1 for all updates.")
        self._folder, self._every, self._keep = Path(folder), every, keep
        noted = {} if optimizer is None else _optimizer(optimizer)
        machine = _machine()
        if hasattr(optimizer, "param_groups"):
            machine = _without(_OTHERS["torch"], machine)
        self._configuration = {**machine, **noted, **configuration}
        self._seen = 0
        self._before: dict[str, Any] = {}
        self._last = ""  # the digest of the file written last
        self._entries: dict[str, int] = {}
        self._signs: dict[str, np.ndarray] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            raise ValueError(
                f"A recording is written into a new folder; '{folder}' is there already. "
                "Give another name, or delete it."
            ) from None
        _sync(self._folder.parent)
        self._write_manifest()

    def start(self, params: Any, buffers: Any = None) -> None:
        """Writes what the first update begins with, and notes whose and of what dtype that is."""
        others = _OTHERS[next((_framework(leaf) for _, leaf in _leaves(params, ())), "")]
        self._configuration = _without(others, self._configuration)
        self._before = {"params": _kept(params), "buffers": _kept(buffers)}
        kinds = {kept.content[0] for kept in self._before["params"].values()}
        self._configuration["params dtype"] = ", ".join(sorted(map(_dtype, kinds)))
        self._entries = {path: kept.entries for path, kept in self._before["params"].items()}
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
        """The stages, those that are as large as the model in the form in which they are kept."""
        if self._keep != "arrays":
            stages = {
                stage: self._reduced(tree) if stage in _LARGE and tree is not None else tree
                for stage, tree in stages.items()
            }
        self._last = _write(self._folder / name, stages, self._last)
        _sync(self._folder)  # or the manifest could outlive the name of what it speaks of

    def _reduced(self, tree: Any) -> dict[str, np.ndarray]:
        reduced = {}
        for keys, leaf in _leaves(tree, ()):
            path = ".".join(keys)
            kind, _, content = _bytes_of(leaf)
            if self._keep == "digests":
                reduced[path] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            else:
                reduced[path] = self._sketch(path, _array(kind, content))
        return reduced

    def _sketch(self, path: str, array: np.ndarray) -> np.ndarray:
        """SKETCH sums of entries with random signs; a leaf that is no larger is kept whole."""
        if array.size <= SKETCH:
            return array
        if path not in self._signs:
            seed = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little")
            signs = np.random.default_rng(seed).integers(0, 2, array.size, dtype=np.int8)
            self._signs[path] = 2 * signs - 1
        signed = array.astype(np.float64) * self._signs[path]
        padded = np.pad(signed, (0, -array.size % SKETCH))
        sketch = padded.reshape(-1, SKETCH).sum(axis=0)
        return sketch if array.dtype == np.float64 else sketch.astype(np.float32)

    def _write_manifest(self) -> None:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "updates": self._seen,
            "every": self._every,
            "last": self._last,
            "keep": self._keep,
            "entries": self._entries,
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
        found["torch cudnn tf32"] = torch.backends.cudnn.allow_tf32
        found["torch cudnn benchmark"] = torch.backends.cudnn.benchmark
        found["torch threads"] = torch.get_num_threads()
    if jax is not None:
        found["jax"] = jax.__version__
        found["jax backend"] = jax.default_backend()
        found["jax x64"] = jax.config.jax_enable_x64
        found["jax matmul precision"] = str(jax.config.jax_default_matmul_precision)
    for name in ("optax", "flax", "equinox", "haiku", "jaxgd"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = version
    return found


def _framework(leaf: Any) -> str:
    if hasattr(leaf, "detach"):
        return "torch"
    return "jax" if type(leaf).__module__.startswith("jax") else ""


def _without(frameworks: tuple[str, ...], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without versions and flags of frameworks that are loaded by chance."""
    return {name: v for name, v in configuration.items() if name.split()[0] not in frameworks}


def digest(header: Mapping[str, Any], content: Iterable[bytes]) -> str:
    """SHA-256 of a JSON header, however it is spaced, and of the bytes after it."""
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for piece in content:
        found.update(piece)
    return found.hexdigest()


def _optimizer(optimizer: Any) -> dict[str, Any]:
    """A torch optimizer's class and options, group by group; of anything else, what it says."""
    if not hasattr(optimizer, "param_groups"):
        return {"optimizer": optimizer if isinstance(optimizer, Mapping) else str(optimizer)}
    groups = [
        {name: value for name, value in group.items() if name != "params" and value is not None}
        for group in optimizer.param_groups
    ]
    kernels = {"foreach", "fused", "capturable", "differentiable"}  # which change no number
    groups = [{n: v for n, v in group.items() if n not in kernels} for group in groups]
    options = groups[0] if len(groups) == 1 else {str(i): g for i, g in enumerate(groups)}
    return {"optimizer": {"class": type(optimizer).__name__, **options}}


def _write(path: Path, stages: Mapping[str, Any], before: str) -> str:
    """One safetensors file: the header's length in 8 bytes, the header in JSON, the bytes.

    Its digest, with that of the file before in it.
    """
    header: dict[str, Any] = {"__metadata__": {"before": before, "name": path.name}}
    chunks, end = [], 0
    for stage, tree in stages.items():
        walk = _leaves_of_layers(tree) if stage == "activations" else _leaves(tree, ())
        for keys, leaf in walk:
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
        self.entries = int(np.prod(self.content[1], dtype=np.int64))


def _kept(tree: Any) -> dict[str, _Kept]:
    return {".".join(keys): _Kept(leaf) for keys, leaf in _leaves(tree, ())}


def _array(kind: str, content: bytes) -> np.ndarray:
    """The flat numbers of a leaf's bytes; bfloat16 is the upper half of a float32."""
    if kind == "BF16":
        return (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(content, _dtype(kind))


def _dtype(kind: str) -> str:
    """The name of the dtype that a file calls so."""
    return next(name for name, of_file in _NAMES.items() if of_file == kind)


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


def _leaves_of_layers(layers: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of activations: each layer an output, or a dict of its parts."""
    for name, layer in (layers or {}).items():
        whole = isinstance(layer, Mapping) and "output" in layer and {*layer} <= _PARTS
        for part, tree in (layer if whole else {"output": layer}).items():
            yield from _leaves(tree, (f"{name}/{part}",))


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
