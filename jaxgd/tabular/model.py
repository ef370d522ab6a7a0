"""A trained model of a table: it predicts one by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, PyTree

from jaxgd.precision import Precision
from jaxgd.tabular.dataset import Part, labelled
from jaxgd.tabular.given_columns import table_of
from jaxgd.tabular.metrics import (
    ByClass,
    by_class,
    constant_loss,
    constant_prediction,
    measures,
)
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.reading import read_table
from jaxgd.tabular.schema import Schema
from jaxgd.tabular.table import Table

_SCORES = ("loss", "accuracy", "RMSE", "R²")


@dataclass(frozen=True)
class Model:
    """Parameters, and all it takes to use them on a table.

    `training` records how it was trained (optimizer, learning rate, epochs, …) for people to read,
    and the `precision` of matrix products, in which the model predicts as well.
    """

    predictor: Predictor
    params: PyTree
    schema: Schema
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def precision(self) -> Precision:
        """The precision of its matrix products, see `jaxgd.in_precision`."""
        return self.training.get("precision", "default")

    def predict(self, table: Table | Path | str | Any) -> Float[np.ndarray, "n *k"]:
        """Every row's probability of each class [n, k], or its value [n] in the target's own unit.

        A table is a `Table`, a file, a data frame of pandas or polars, or a dict of columns, which
        are found by name, in any order; those that the model does not know are ignored. A file is
        read as its training table was: `read_table(path, kinds=self.schema.kinds)`.

        Raises ValueError for a column that is missing, of another kind, or lacks numbers or
        dates where none was lacking in training; TypeError for what is no table.
        """
        if isinstance(table, Path | str):
            table = read_table(Path(table), kinds=self.schema.kinds)
        elif not isinstance(table, Table):
            table = table_of(table, self.schema.kinds)
        predicted = self.predictor.predict(self.params, self.schema.inputs(table), self.precision)
        if self.schema.target.task != "regression":
            return predicted
        return self.schema.y_scaling.invert(predicted.astype(np.float64))

    def labelled(self, table: Table) -> Part:
        """A table's rows as the model was trained on such: inputs, and the known target.

        Raises ValueError as `predict` does, and for a target that is missing or holds what the
        model does not know.
        """
        return labelled(self.schema, table)

    def save(self, path: Path | str) -> None:
        """Write the model as `save_model` does: `jaxgd.load_model(path)` is the same model."""
        from jaxgd.tabular.model_file import save_model  # which makes models, too

        save_model(Path(path), self)

    def judged(self, part: Part) -> tuple[float, np.ndarray, Float[np.ndarray, "n *k"]]:
        """The mean loss of some rows, their targets, and what is predicted of each.

        Class indices and probabilities [n, k], or values [n] in the target's own unit.
        """
        loss, predicted = self.predictor.judged(self.params, part, self.precision)
        if self.schema.target.task != "regression":
            return loss, part.y, predicted
        invert = self.schema.y_scaling.invert
        return loss, invert(part.y.astype(np.float64)), invert(predicted.astype(np.float64))

    def measures(self, part: Part) -> tuple[dict[str, float], ByClass | None]:
        """The mean loss of some rows and the measures of `metrics.measures`, and those by class."""
        target = self.schema.target
        loss, y, predicted = self.judged(part)
        classes = None if target.task == "regression" else by_class(target, y, predicted)
        return {"loss": loss} | measures(target, y, predicted), classes

    def constant_measures(self, train: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """The same of the prediction that is best constant for the targets of the training rows."""
        target, scaling = self.schema.target, self.schema.y_scaling
        loss = {"loss": constant_loss(target, train, of=y)}
        predicted = constant_prediction(target, train, len(y))
        if target.task == "regression":
            y, predicted = scaling.invert(y.astype(np.float64)), scaling.invert(predicted)
        return loss | measures(target, y, predicted)

    def score(self, part: Part) -> dict[str, float]:
        """Of the measures those that tell most: the loss, and the accuracy, or RMSE and R²."""
        found, _ = self.measures(part)
        return {name: found[name] for name in _SCORES if name in found}
