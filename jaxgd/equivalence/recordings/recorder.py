"""A training, written to disk update by update. This file needs NumPy alone: copy it anywhere.

    recorder = Recorder("run", seed=0, optimizer="AdamW(lr=1e-3)", batch_size=32)
    recorder.start(params, buffers)
    recorder.update(gradient, updated, batch=(x, y), outputs=outputs, loss=loss)    # for each one

A recording is a folder. Each file is in the safetensors format, and each tensor's name is a stage,
a slash, and the path in the stage's pytree ("gradient/layers.0.weight"):

    manifest.json              format, version, updates, every, and the configuration
    start.safetensors          params, and buffers if there are any, before the first update
    00000.safetensors, …       of each update kept: gradient, updated, and what else was given of
                               batch, outputs, loss, opt_state, updated_buffers, params, buffers;
                               activations by layer, in forward order, whose names are
                               "activations/NAME/output", and "…/inputs", "…/gradient" if given

`params` and `buffers` of an update are those that the update before left, and are written only
where that is not so: in a recording in lockstep, and where only every k-th update is kept. The
manifest is written anew after each update, so that a run that is killed leaves a recording.
"""

import dataclasses
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT, VERSION = "training recording", 1

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
    "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip

_PARTS = {"output", "inputs", "gradient"}  # of a layer


class Recorder:
    """Writes a recording into a folder, which it makes."""

    def __init__(self, folder: str | Path, *, every: int = 1, **configuration: Any) -> None:
        self._folder, self._every = Path(folder), every
        self._configuration = {**_machine(), **configuration}
        self._seen = 0
        self._before: dict[str, Any] = {}
        self._folder.mkdir(parents=True, exist_ok=False)

    def start(self, params: Any, buffers: Any = None) -> None:
        """Writes what the first update begins with."""
        self._before = {"params": _kept(params), "buffers": _kept(buffers)}
        _write(self._folder / "start.safetensors", self._before)
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
            _write(
                self._folder / name, {"gradient": gradient, "updated": updated, **given, **stages}
            )
        self._seen += 1
        if self._every > 1:
            left = {"params": updated, "buffers": stages.get("updated_buffers")}
            self._before = {name: _kept(tree) for name, tree in left.items()}
        self._write_manifest()

    def _write_manifest(self) -> None:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "updates": self._seen,
            "every": self._every,
            "configuration": self._configuration,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, default=str)
        (self._folder / "manifest.json").write_text(text, encoding="utf-8")


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


def _write(path: Path, stages: Mapping[str, Any]) -> None:
    """One safetensors file: the header's length in 8 bytes, the header in JSON, the bytes."""
    header, chunks, end = {}, [], 0
    for stage, tree in stages.items():
        walk = _leaves_of_layers(tree) if stage == "activations" else _leaves(tree, ())
        for keys, leaf in walk:
            name, shape, content = _bytes_of(leaf)
            offsets = [end, end := end + len(content)]
            at = f"{stage}/{'.'.join(keys)}"
            header[at] = {"dtype": name, "shape": shape, "data_offsets": offsets}
            chunks.append(content)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(chunks)


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
