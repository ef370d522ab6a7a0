"""What the columns of a table mean to a model, and how they were scaled."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxgd.tabular.scaling import PIECE, Standardizer
from jaxgd.tabular.table import Table
from jaxgd.tabular.target import Target


class Schema(NamedTuple):
    """The features by name, in the order of a model's inputs, the target, and their scaling.

    The scaling was measured on the training rows alone; classes are not scaled.
    """

    features: tuple[str, ...]
    target: Target
    x_scaling: Standardizer
    y_scaling: Standardizer

    def inputs(self, table: Table) -> Float[np.ndarray, "n d"]:
        """The features of a table, scaled; its columns are found by name.

        Raises ValueError for a column that is missing, not complete or text.
        """
        return scaled(table.matrix(self.features), self.x_scaling)


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
