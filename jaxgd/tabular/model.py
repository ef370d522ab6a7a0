"""A trained model of a table: it predicts one by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, PyTree

from jaxgd.precision import Precision
from jaxgd.tabular.dataset import Part
from jaxgd.tabular.predictor import Predictor
from jaxgd.tabular.schema import Schema
from jaxgd.tabular.table import Table


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

    def predict(self, table: Table) -> Float[np.ndarray, "n *k"]:
        """Every row's probability of each class [n, k], or its value [n] in the target's own unit.

        Columns are found by name, in any order; those that the model does not know are ignored.

        Raises ValueError for a column that is missing, not complete or text.
        """
        predicted = self.predictor.predict(self.params, self.schema.inputs(table), self.precision)
        if self.schema.target.task != "regression":
            return predicted
        return self.schema.y_scaling.invert(predicted.astype(np.float64))

    def score(self, part: Part) -> dict[str, float]:
        """The mean loss of some rows, and their accuracy, or RMSE and R² in the target's unit."""
        return self.predictor.score(self.params, part, self.schema.y_scaling, self.precision)
