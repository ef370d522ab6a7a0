"""The golden trajectories on disk: one safetensors file, and a manifest in JSON beside it.

A tensor's name is the case's, a slash, and one of params/…, gradient/…, x, y, order, loss, lr.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

FOLDER = Path(__file__).parents[2] / "golden"


class Golden(NamedTuple):
    """One run of torch."""

    params: dict[str, np.ndarray]  # before the first update and after each: [updates + 1, ...]
    gradient: dict[str, np.ndarray]  # the loss's, at each update: [updates, ...]
    x: np.ndarray  # the examples
    y: np.ndarray
    order: np.ndarray  # the rows of each batch: [updates, batch]
    loss: np.ndarray  # of each batch, before its update
    lr: np.ndarray  # of each update


def write(folder: Path, version: int, torch_version: str, made: Sequence) -> None:
    """Writes all cases: pairs of a Case and its Golden."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    for case, golden in made:
        for field, value in golden._asdict().items():
            leaves = (
                {f"/{p}": v for p, v in value.items()} if isinstance(value, dict) else {"": value}
            )
            for path, array in leaves.items():
                tensors[f"{case.name}/{field}{path}"] = np.ascontiguousarray(array)
    save_file(tensors, folder / "trajectories.safetensors")
    told = {
        "name": "jaxgd golden trajectories",
        "version": version,
        "licence": "Apache-2.0",
        "made by": f"torch {torch_version}, CPU, one thread; python -m tests.golden.maker",
        "cases": [case._asdict() for case, _ in made],
    }
    text = json.dumps(told, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def manifest(folder: Path = FOLDER) -> dict:
    """Name, version, licence, maker and cases."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@cache
def read(folder: Path = FOLDER) -> dict[str, Golden]:
    """Every case's run by name."""
    tensors = load_file(folder / "trajectories.safetensors")
    runs = {}
    for case in manifest(folder)["cases"]:
        fields: dict = {"params": {}, "gradient": {}}
        prefix = f"{case['name']}/"
        for name, array in tensors.items():
            if name.startswith(prefix):
                field, _, path = name[len(prefix) :].partition("/")
                if path:
                    fields[field][path] = array
                else:
                    fields[field] = array
        runs[case["name"]] = Golden(**fields)
    return runs
