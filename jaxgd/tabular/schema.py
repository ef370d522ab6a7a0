"""What the columns of a table mean to a model, and how they were scaled."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxgd.tabular.encoding import Column
from jaxgd.tabular.facts import Kind
from jaxgd.tabular.scaling import PIECE, Standardizer
from jaxgd.tabular.table import Table
from jaxgd.tabular.target import Target


class Schema(NamedTuple):
    """The columns that become features, in the order of a model's inputs, the target, the scaling.

    Scaling and encodings were measured on the training rows alone; classes are not scaled. `id` is
    a column that names rows and is no feature.
    """

    columns: tuple[Column, ...]
    target: Target
    x_scaling: Standardizer
    y_scaling: Standardizer
    id: str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of a model's inputs."""
        return tuple(chain.from_iterable(column.features for column in self.columns))

    @property
    def kinds(self) -> dict[str, Kind]:
        """The columns that a table must have, and their kinds."""
        return {column.name: column.kind for column in self.columns}

    def inputs(self, table: Table) -> Float[np.ndarray, "n d"]:
        """The features of a table, scaled; its columns are found by name.

        Raises ValueError for a column that is missing, of another kind, or lacks numbers or
        dates where none was lacking in training.
        """
        return scaled(encoded(self.columns, table), self.x_scaling)


def scaled(
    x: Float[np.ndarray, "n d"],
    scaling: Standardizer,
    rows: Int[np.ndarray, "m"] | slice = slice(None),
) -> Float[np.ndarray, "m d"]:
    """Some rows of the features, scaled and in JAX's default float, a piece of them at a time."""
    rows = np.arange(len(x))[rows]
    out = np.empty((len(rows), x.shape[1]), jax.dtypes.canonicalize_dtype(np.float64))
    for i in range(0, len(rows), PIECE):
        out[i : i + PIECE] = in_default_float(scaling.apply(x[rows[i : i + PIECE]]))
    return out


def plain(*names: str) -> tuple[Column, ...]:
    """Columns of numbers that are all there."""
    return tuple(map(Column, names))


def encoded(columns: Sequence[Column], table: Table) -> Float[np.ndarray, "n d"]:
    """The features of a table's rows, unscaled."""
    for column in columns:  # so that one which is not there is told before anything is done
        table.column(column.name)
    ends = np.cumsum([len(column.features) for column in columns])
    out = np.zeros((len(table), ends[-1]))
    for column, end in zip(columns, ends, strict=True):
        column.encode(table, out[:, end - len(column.features) : end])
    return out


def amounts_scaled(scaling: Standardizer, columns: Sequence[Column]) -> Standardizer:
    """The scaling, of amounts alone: a feature that is in [-1, 1] by its making stays as it is."""
    measured = np.array([m for column in columns for m in column.measured])
    return Standardizer(
        np.where(measured, scaling.mean, 0.0), np.where(measured, scaling.scale, 1.0)
    )


def in_default_float(values: np.ndarray) -> np.ndarray:
    """The values in float32, or float64 in JAX's x64 mode; ValueError if one does not fit."""
    with np.errstate(over="ignore"):
        narrow = values.astype(jax.dtypes.canonicalize_dtype(np.float64))
    if not np.isfinite(narrow).all():
        raise ValueError(
            f"values must fit {narrow.dtype}; got {np.abs(values).max():g} after scaling. "
            "Standardise them, or use a smaller unit."
        )
    return narrow
