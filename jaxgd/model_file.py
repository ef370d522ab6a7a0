"""A trained model as one file: parameters, scaling, and what the columns and classes are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.data import Standardizer, Target
from jaxgd.predictor import Predictor
from jaxgd.verified_file import load_arrays, save_arrays

_KIND, _VERSION = "jaxgd model", 1


@dataclass(frozen=True)
class Model:
    """A trained model and all it takes to use it on a table.

    `features` names the columns in the order of its inputs; `training` records how it was trained
    (optimizer, learning rate, epochs, …) for people to read.
    """

    predictor: Predictor
    params: PyTree
    features: tuple[str, ...]
    x_scaling: Standardizer
    y_scaling: Standardizer
    training: Mapping[str, Any] = field(default_factory=dict)


class _Arrays(NamedTuple):
    """What of a model is numbers; its leaves' paths are their names in the file."""

    params: PyTree
    x_scaling: Standardizer
    y_scaling: Standardizer


def save_model(path: Path, model: Model) -> None:
    """Write the model as a safetensors file with a JSON note: whole, or not at all."""
    target = model.predictor.target
    note = {
        "jaxgd": jaxgd_version(),
        "features": model.features,
        "target": target.name,
        "task": target.task,
        "classes": target.classes,
        "hidden": model.predictor.hidden,
        "training": dict(model.training),
    }
    arrays = _named(_Arrays(model.params, model.x_scaling, model.y_scaling))
    save_arrays(
        path,
        {name: np.asarray(array) for name, array in arrays.items()},
        note,
        kind=_KIND,
        version=_VERSION,
    )


def load_model(path: Path) -> Model:
    """The model in a file that `save_model` wrote.

    Raises ValueError for a file that is truncated, damaged, no model, of a newer version, or whose
    arrays do not fit its note; OSError if it cannot be read. Nothing is unpickled.
    """
    arrays, note = load_arrays(path, kind=_KIND, version=_VERSION)
    features = tuple(note["features"])
    target = Target(note["target"], note["task"], tuple(note["classes"]))
    predictor = Predictor(len(features), target, tuple(note["hidden"]))
    row, scalar = np.zeros(len(features)), np.zeros(())
    form = _Arrays(
        jax.eval_shape(predictor.init, jax.random.key(0)),
        Standardizer(row, row),
        Standardizer(scalar, scalar),
    )
    expected = {name: leaf.shape for name, leaf in _named(form).items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        raise ValueError(f"{path} does not fit its note: it holds {found}, not {expected}.")
    loaded = jax.tree.unflatten(jax.tree.structure(form), [arrays[name] for name in expected])
    return Model(
        predictor,
        loaded.params,
        features,
        loaded.x_scaling,
        loaded.y_scaling,
        note["training"],
    )


def jaxgd_version() -> str:
    """The version of the installed package, or "source" where it runs from a clone."""
    try:
        return version("jaxgd")
    except PackageNotFoundError:
        return "source"


def _named(arrays: _Arrays) -> dict[str, Any]:
    """The arrays by their path, such as `params.w` or `params[0].w`."""
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    return {jax.tree_util.keystr(path).removeprefix("."): leaf for path, leaf in leaves}
