"""The three things that jaxgd stores, as a proof sees them: saved in steps, known by their bits."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgd.equivalence import DiskRecording, Recorder
from jaxgd.storage import Checkpoints
from jaxgd.tabular import (
    Model,
    Predictor,
    Schema,
    Standardizer,
    Target,
    load_model,
    save_model,
)
from jaxgd.tabular.schema import plain


class Wrong(Exception):
    """What was loaded is nothing that was ever saved."""


class Thing(NamedTuple):
    """A thing on disk.

    `save(folder)` writes number 1, 2, … of it, and yields each number once it is safe.
    `load(folder)` gives the number of what is there, told by all its bits, or 0 where is nothing;
    it raises Wrong for other bits.
    """

    name: str
    save: Callable[[Path], Iterator[int]]
    load: Callable[[Path], int]


NUMBERS = (1, 2, 3)


def _tree(number: int) -> dict[str, Any]:
    """What is saved as that number: nothing of it is in another."""
    rng = np.random.default_rng(number)
    return {
        "w": rng.normal(size=(3, 4)).astype(np.float32),
        "b": np.asarray(float(number)),
        "count": rng.integers(0, 99, 5).astype(np.int32),
    }


def _number_of(found: dict[str, Any]) -> int:
    """Which number these arrays are."""
    for number in NUMBERS:
        saved = _tree(number)
        if saved.keys() == found.keys() and all(
            _bits(found[name]) == _bits(saved[name]) for name in saved
        ):
            return number
    raise Wrong(str(found))


def _bits(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(array)
    return array.dtype.name, array.shape, array.tobytes()


def _save_checkpoints(folder: Path) -> Iterator[int]:
    checkpoints = Checkpoints(folder / "run")
    with checkpoints.held():
        for number in NUMBERS:
            checkpoints.save(number, _tree(number), {"position": [number, 0]})
            yield number


def _load_checkpoint(folder: Path) -> int:
    stored = Checkpoints(folder / "run").newest()
    if stored is None:
        return 0
    tree = stored.tree(_tree(1))
    return _number_of({name: stored.arrays[f"['{name}']"] for name in tree})


_TARGET = Target("kind", "binary", ("no", "yes"))
_PREDICTOR = Predictor(2, _TARGET, (3,))


@cache
def _params(number: int) -> Any:
    rng = np.random.default_rng(number)
    form = jax.eval_shape(_PREDICTOR.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), form)


def _save_models(folder: Path) -> Iterator[int]:
    for number in NUMBERS:
        one = np.asarray(float(number))
        schema = Schema(
            plain("width", "length"),
            _TARGET,
            Standardizer(np.full(2, one), np.ones(2)),
            Standardizer(one, one),
        )
        model = Model(_PREDICTOR, _params(number), schema, {"epochs": number})
        save_model(folder / "model.safetensors", model)
        yield number


def _load_model(folder: Path) -> int:
    path = folder / "model.safetensors"
    if not path.exists():
        return 0
    model = load_model(path)
    for number in NUMBERS:
        pairs = zip(jax.tree.leaves(model.params), jax.tree.leaves(_params(number)), strict=True)
        if all(_bits(found) == _bits(saved) for found, saved in pairs):
            return number
    raise Wrong(str(model.params))


def _save_recording(folder: Path) -> Iterator[int]:
    recorder = Recorder(folder / "recording", seed=0)
    recorder.start(_tree(1))
    for number in NUMBERS:
        recorder.update(_tree(number), _tree(number), loss=float(number))
        yield number


def _load_recording(folder: Path) -> int:
    if not (folder / "recording" / "manifest.json").exists():
        return 0
    recording = DiskRecording(folder / "recording")
    for at, update in enumerate(recording):
        stages = {"gradient": update.gradient, "updated": update.updated}
        if any(_number_of(stage) != at + 1 for stage in stages.values()):
            raise Wrong(f"update {at}")
        if _number_of(update.params) != max(at, 1):
            raise Wrong(f"params of update {at}")
    return len(recording)


THINGS = (
    Thing("checkpoints", _save_checkpoints, _load_checkpoint),
    Thing("model files", _save_models, _load_model),
    Thing("recordings", _save_recording, _load_recording),
)
