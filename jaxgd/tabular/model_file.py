"""A trained model as one file: parameters, and what the columns and classes are."""

from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.precision import check_precision
from jaxgd.storage.verified_file import load_arrays, refused_as_misfit, save_arrays
from jaxgd.tabular.encoding import PARTS, Column
from jaxgd.tabular.facts import Kind
from jaxgd.tabular.model import Model
from jaxgd.tabular.predictor import ACTIVATIONS, Predictor
from jaxgd.tabular.scaling import Standardizer
from jaxgd.tabular.schema import Schema, plain
from jaxgd.tabular.target import Target
from jaxgd.version import __version__

_KIND, _VERSION = "jaxgd model", 3
_WIDEST = 2**24  # of a layer, and more than an init is asked for


class _Arrays(NamedTuple):
    """What of a model is numbers; its leaves' paths are their names in the file."""

    params: PyTree
    x_scaling: Standardizer
    y_scaling: Standardizer


def save_model(path: Path, model: Model) -> None:
    """Write the model as a safetensors file with a JSON note: whole, or not at all."""
    columns, target, x_scaling, y_scaling, id = model.schema
    note = {
        "jaxgd": __version__,
        "columns": [column._asdict() for column in columns],
        "id": id,
        "target": target.name,
        "task": target.task,
        "classes": target.classes,
        "hidden": model.predictor.hidden,
        "activation": model.predictor.activation,
        "training": dict(model.training),
    }
    arrays = _named(_Arrays(model.params, x_scaling, y_scaling))
    save_arrays(
        path,
        {name: np.asarray(array) for name, array in arrays.items()},
        note,
        kind=_KIND,
        version=_VERSION,
    )


def load_model(path: Path) -> Model:
    """The model in a file that `save_model` wrote.

    A file of version 1, of jaxgd 0.1, has features that are numbers alone; before version 3 hidden
    layers have tanh.

    Raises ValueError for a file that is truncated, damaged, no model, of a newer version, or whose
    arrays do not fit its note; OSError if it cannot be read. Nothing is unpickled.
    """
    arrays, note = load_arrays(path, kind=_KIND, version=_VERSION)
    with refused_as_misfit(path, _KIND):
        hidden = tuple(note["hidden"])
        if len(hidden) > len(arrays) or not all(0 < width <= _WIDEST for width in hidden):
            raise ValueError(f"no model is that deep or wide: {hidden[:8]}")
        columns = _columns(note)
        target = Target(note["target"], note["task"], tuple(note["classes"]))
        features = [name for column in columns for name in column.features]
        texts = [name for column in columns for name in (column.name, *column.levels)]
        if not all(isinstance(text, str) for text in (*texts, target.name, *target.classes)):
            raise TypeError("names of columns and classes must be text")
        if not isinstance(note["training"], dict):
            raise TypeError("what is told of the training must be a table")
        check_precision(note["training"].get("precision", "default"))
        activation = note.get("activation", "tanh")
        if activation not in ACTIVATIONS:
            raise ValueError(f"no activation is called {activation!r}")
        predictor = Predictor(len(features), target, hidden, activation)
        row, scalar = np.zeros(len(features)), np.zeros(())
        form = _Arrays(
            jax.eval_shape(lambda: predictor.init(jax.random.key(0))),
            Standardizer(row, row),
            Standardizer(scalar, scalar),
        )
    expected = {name: leaf.shape for name, leaf in _named(form).items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        raise ValueError(f"{path} does not fit its note: it holds {found}, not {expected}.")
    loaded = jax.tree.unflatten(jax.tree.structure(form), [arrays[name] for name in expected])
    schema = Schema(columns, target, loaded.x_scaling, loaded.y_scaling, note.get("id"))
    return Model(predictor, loaded.params, schema, note["training"])


def _columns(note: dict[str, Any]) -> tuple[Column, ...]:
    """The columns that a note tells of."""
    if "columns" not in note:
        return plain(*note["features"])
    columns = [Column(**fields) for fields in note["columns"]]
    for name, kind, levels, _, fill, _ in columns:
        if kind not in get_args(Kind):
            raise ValueError(f"column {name!r} is of no known kind: {kind!r}")
        if kind == "date" and not set(levels) <= set(PARTS):
            raise ValueError(f"column {name!r} has no known parts: {levels}")
        if not isinstance(levels, list) or not isinstance(fill, float | int | None):
            raise TypeError(f"column {name!r} is told of in a form that is not known")
    return tuple(column._replace(levels=tuple(column.levels)) for column in columns)


def _named(arrays: _Arrays) -> dict[str, Any]:
    """The arrays by their path, such as `params.w` or `params[0].w`."""
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    return {jax.tree_util.keystr(path).removeprefix("."): leaf for path, leaf in leaves}
