"""A table's model as one file that predicts where jaxgd is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgd.interop.artifact import PLATFORMS, Artifact, exported, load_artifact
from jaxgd.precision import in_precision
from jaxgd.storage.verified_file import refused_as_misfit
from jaxgd.tabular import Model
from jaxgd.tabular.schema import in_default_float

_WHAT = "predictor"


@dataclass(frozen=True)
class ExportedPredictor:
    """A model's predictions of rows of numbers, its columns in the order of `header["features"]`.

    The program in it takes z = (x - mean) / scale, column by column, both in the header: worked out
    in float64 outside, as `Model.predict` does, for a column of large numbers loses its digits in
    float32.
    """

    artifact: Artifact

    def predict(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n *k"]:
        """Every row's probability of each class [n, k], or its value [n] in the target's own unit.

        Raises ValueError unless x has a row or more and every column of `header["features"]`.

        Departs from Model.predict: columns by place, not by name; and rounding of the last bits.
        """
        header = self.artifact.header
        rows = _checked(x, header["features"])
        z = (rows - header["mean"]) / header["scale"]
        (predicted,) = self.artifact.call([in_default_float(z)])
        if header["task"] != "regression":
            return np.asarray(predicted)
        return np.asarray(predicted, np.float64) * header["y_scale"] + header["y_mean"]

    def save(self, path: Path | str) -> None:
        """Write the predictor as one file: afterwards it is the whole new one, or the old."""
        self.artifact.save(path)


def export_predictor(model: Model, *, platforms: Sequence[str] = PLATFORMS) -> ExportedPredictor:
    """A model's predictor as a program of its own, its parameters in it, for any number of rows.

    Its matrix products are in the precision that the model was trained in, as in `Model.predict`.

    Raises ValueError for a model of columns that are not all numbers, as the program takes them,
    and ModuleNotFoundError without the package flatbuffers (the extra `export`).
    """
    from jax import export

    columns, target, x_scaling, y_scaling, _ = model.schema
    features = model.schema.features
    for column in columns:
        if column.kind not in ("number", "boolean") or column.fill is not None:
            raise ValueError(
                f"a program takes numbers that are all there; column {column.name!r} of the model "
                f"is a {column.kind}{' with missing values' if column.fill is not None else ''}. "
                "Predict with Model.predict, or train without the column."
            )
    (n,) = export.symbolic_shape("n")
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    x = jax.ShapeDtypeStruct((n, len(features)), dtype)
    note = {
        "what": _WHAT,
        "features": features,
        "target": target.name,
        "task": target.task,
        "classes": target.classes,
        "mean": x_scaling.mean.tolist(),
        "scale": x_scaling.scale.tolist(),
        "y_mean": y_scaling.mean.tolist(),
        "y_scale": y_scaling.scale.tolist(),
    }

    def predict(x: Any) -> Array:
        return _predictions(model, x)

    results = {"predicted": jax.eval_shape(predict, x)}
    return ExportedPredictor(exported(predict, {"x": x}, results, platforms, note))


def load_predictor(path: Path | str) -> ExportedPredictor:
    """The predictor in a file that `ExportedPredictor.save`, or `jaxgd export`, wrote.

    Raises ValueError for a file that is truncated, damaged, no predictor, or that this JAX cannot
    read, and ModuleNotFoundError without the package flatbuffers.
    """
    artifact = load_artifact(path, _WHAT)
    with refused_as_misfit(Path(path), "exported predictor"):
        d = len(artifact.header["features"])
        for name in ("mean", "scale"):
            if np.shape(artifact.header[name]) != (d,):
                raise ValueError(f"its {name} is not that of {d} features")
        float(artifact.header["y_mean"]), float(artifact.header["y_scale"])
    return ExportedPredictor(artifact)


def _checked(x: Any, features: Sequence[str]) -> np.ndarray:
    """The rows in float64; ValueError for another number of columns, which would be broadcast."""
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(features) or len(rows) == 0:
        raise ValueError(
            f"x must be one row or more of {len(features)} columns, those of "
            f'header["features"] in their order; got shape {rows.shape}. '
            "Give a single row the shape (1, d)."
        )
    return rows


def _predictions(model: Model, x: Float[Array, "n d"]) -> Float[Array, "n *k"]:
    """What `Predictor.predict` gives, in one program."""
    output = in_precision(model.predictor.output, model.precision)
    outputs = jax.vmap(output, (None, 0))(model.params, x)
    task = model.schema.target.task
    if task == "regression":
        return outputs
    if task == "binary":
        outputs = jnp.stack([jnp.zeros_like(outputs), outputs], axis=1)
    return jax.nn.softmax(outputs, axis=1)
