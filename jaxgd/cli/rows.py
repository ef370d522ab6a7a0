"""The rows of a fit: all of a table, or those that this process holds of it.

`train`, `held_out` and `valid` are what `jaxgd.fit` takes, `n` and `held` how many rows these are,
`numbers` those of the training rows in the table, and `account` what is told of the table.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxgd.cli.data_options import DataOptions, Weights
from jaxgd.cli.measures_report import Measured
from jaxgd.cli.sharing import Sharing
from jaxgd.objective import Loss, mean
from jaxgd.precision import in_precision
from jaxgd.scale.placement import spread
from jaxgd.tabular import Dataset, Model, Predictor, Table, read_table
from jaxgd.tabular.dataset import labelled
from jaxgd.tabular.metrics import constant_loss
from jaxgd.tabular.own_rows import read_own
from jaxgd.tabular.scaling import standardizer
from jaxgd.tabular.weights import WeightedPart, weighted

Figures = dict[str, float]
TrainingLosses = tuple[float, float, float]

_ALIKE = Weights()


class Seen(NamedTuple):
    """The targets of the rows that a run is judged by, and what it predicts of them."""

    part: str
    y: np.ndarray
    predicted: np.ndarray


class WholeTable:
    """All rows, in this process."""

    def __init__(
        self,
        table: Table,
        options: DataOptions,
        key: Array,
        weights: Weights = _ALIKE,
        valid: float | Path | None = None,
    ) -> None:
        part = valid if isinstance(valid, float) else 0.0
        dataset: Dataset = options.prepare(table, key, weights, part)
        self.source, self.schema, self.account = table.source, dataset.schema, dataset.account
        self.numbers, self.weights = dataset.rows[0], dataset.weights
        self.train, self.held_out, self.valid = self._weighed(dataset)
        if isinstance(valid, Path):
            kinds = self.schema.kinds | self.schema.target.kinds
            judges = read_table(valid, encoding=options.encoding, kinds=kinds)
            self.valid = labelled(self.schema, judges)
        self.n, self.dtype = len(dataset.train.y), dataset.train.x.dtype
        self.held, self.set_aside = (
            0 if part is None else len(part.y) for part in (dataset.held_out, dataset.valid)
        )

        self.parts = {"training": dataset.train}
        if dataset.held_out is not None:
            self.parts["held-out"] = dataset.held_out

    def _weighed(self, dataset: Dataset) -> Iterator[Any]:
        """The rows to train on, to judge at the end and to stop by, with weights if they have any.

        None where there are none.
        """
        parts = dataset.train, dataset.held_out, dataset.valid
        if dataset.weights is None:
            return iter(parts)
        weighed = zip(parts, dataset.weights, strict=True)
        return (part and WeightedPart(*part, weights) for part, weights in weighed)

    def loss(self, predictor: Predictor) -> Loss:
        """The loss of a row that is trained on."""
        return predictor.loss if self.weights is None else weighted(predictor.loss)

    def training_losses(self, model: Model, start: Any, found: Measured) -> TrainingLosses:
        """Those of a model at its start, at its end, as it is measured, and of a constant."""
        predictor, precision = model.predictor, model.precision
        if self.weights is None:
            before, _ = predictor.judged(start, self.train, precision)
            return before, found[0]["loss"], self.constant_loss(predictor)
        objective = jax.jit(mean(in_precision(self.loss(predictor), precision)))
        before, end = (float(objective(params, self.train)) for params in (start, model.params))
        return before, end, self.constant_loss(predictor)

    def measures(self, model: Model, part: str) -> Measured:
        """The model's measures on these rows, those of a constant prediction, and by class."""
        rows = self.parts[part]
        found, classes = model.measures(rows)
        return found, model.constant_measures(self.train.y, rows.y), classes

    def seen(self, model: Model) -> Seen:
        """What the model predicts of the rows that it is judged by."""
        part = list(self.parts)[-1]
        _, y, predicted = model.judged(self.parts[part])
        return Seen(part, y, predicted)

    def constant_loss(self, predictor: Predictor) -> float:
        """The training loss of the best constant prediction."""
        weights = None if self.weights is None else self.weights[0]
        return constant_loss(predictor.target, self.train.y, weights)


class SharedTable:
    """The rows that this process holds of a table, of which others hold the rest."""

    weights = valid = None
    set_aside = 0

    def __init__(self, options: DataOptions, key: Array, mesh: Mesh) -> None:
        if options.group is not None or options.time is not None:
            raise ValueError(
                "several processes hold rows out at random; got a --group or --time. Leave it out."
            )
        if options.encoding is not None:
            raise ValueError("several processes read UTF-8; got an --encoding. Convert the file.")
        self.sharing = Sharing(mesh)
        with self.sharing.processes.or_none():
            own = read_own(
                options.data,
                self.sharing.own,
                key=key,
                target=options.target,
                task=options.task,
                ignore=options.ignore,
                id=options.id,
                held_out=options.held_out,
            )
        x, n, scaling = own.to_train_on, len(own.parts[0]), None
        if options.standardize:
            scaling = standardizer(x, n, lambda a: self.sharing.total(a, n), self.sharing.most)
        with self.sharing.processes.or_none():
            self.schema, parts = own.prepared(scaling)
        self.parts = dict(zip(("training", "held-out"), parts, strict=False))
        placed = [spread(part.own, mesh, n=len(part.y)) for part in parts]
        self.source, self.account, self.train = own.source, own.account, placed[0]
        self.held_out = placed[1] if placed[1:] else None
        self.numbers, self.n, self.dtype = own.parts[0], n, parts[0].own.x.dtype
        self.held = len(own.parts[1]) if own.parts[1:] else 0

    def loss(self, predictor: Predictor) -> Loss:
        """The loss of a row that is trained on."""
        return predictor.loss

    def training_losses(self, model: Model, start: Any, found: Measured) -> TrainingLosses:
        """Those of a model at its start, at its end, as it is measured, and of a constant."""
        before = self._score(replace(model, params=start), "training")
        return before["loss"], found[0]["loss"], self.constant_loss(model.predictor)

    def _score(self, model: Model, part: str) -> Figures:
        """The model's scores on the rows of all processes, "training" or "held-out"."""
        rows = self.parts[part]
        found, own, n = model.score(rows.own), len(rows.own.y), len(rows.y)
        if "RMSE" not in found:
            return self.sharing.mean(found, own, n)
        squares = {"loss": found["loss"], "square": found["RMSE"] ** 2}
        loss, square = self.sharing.mean(squares, own, n).values()
        spread = np.var(self.schema.y_scaling.invert(rows.y.astype(np.float64)))
        r2 = float(1 - square / spread) if spread else float("nan")
        return {"loss": loss, "RMSE": square**0.5, "R²": r2}

    def measures(self, model: Model, part: str) -> Measured:
        """The scores of all processes' rows and those of a constant prediction; none by class."""
        found = self._score(model, part)
        constant = model.constant_measures(self.parts["training"].y, self.parts[part].y)
        return found, {name: constant[name] for name in found}, None

    def seen(self, model: Model) -> None:
        """No process has all the rows."""

    def constant_loss(self, predictor: Predictor) -> float:
        """The training loss of the best constant prediction."""
        return constant_loss(predictor.target, self.parts["training"].y)


Rows = WholeTable | SharedTable
