"""The rows of a fit: all of a table, or those that this process holds of it.

`train` and `held_out` are what `jaxgd.fit` takes, `n` and `held` how many rows these are, and
`numbers` those of the training rows in the table.
"""

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.sharing import Sharing
from jaxgd.scale.placement import spread
from jaxgd.tabular import Dataset, Model, Predictor, Table
from jaxgd.tabular.dataset import split
from jaxgd.tabular.own_rows import read_own
from jaxgd.tabular.scaling import standardizer


class WholeTable:
    """All rows, in this process."""

    def __init__(self, table: Table, options: DataOptions, key: Array) -> None:
        dataset: Dataset = options.prepare(table, key)
        self.source, self.schema = table.source, dataset.schema
        self.train, self.held_out = dataset.train, dataset.held_out
        self.numbers, _ = split(key, len(table), options.held_out)
        self.n, self.dtype = len(dataset.train.y), dataset.train.x.dtype
        self.held = 0 if dataset.held_out is None else len(dataset.held_out.y)

        self.parts = {"training": self.train}
        if self.held_out is not None:
            self.parts["held-out"] = self.held_out

    def score(self, model: Model, part: str) -> dict[str, float]:
        """The model's scores on the "training" or the "held-out" rows."""
        return model.score(self.parts[part])

    def constant_loss(self, predictor: Predictor) -> float:
        """The training loss of the best constant prediction."""
        return predictor.constant_loss(self.train.y)


class SharedTable:
    """The rows that this process holds of a table, of which others hold the rest."""

    def __init__(self, options: DataOptions, key: Array, mesh: Mesh) -> None:
        self.sharing = Sharing(mesh)
        with self.sharing.processes.or_none():
            own = read_own(
                options.data,
                self.sharing.own,
                key=key,
                target=options.target,
                task=options.task,
                ignore=options.ignore,
                held_out=options.held_out,
            )
        x, n, scaling = own.to_train_on, len(own.parts[0]), None
        if options.standardize:
            scaling = standardizer(x, n, lambda a: self.sharing.total(a, n), self.sharing.most)
        with self.sharing.processes.or_none():
            self.schema, parts = own.prepared(scaling)
        self.parts = dict(zip(("training", "held-out"), parts, strict=False))
        placed = [spread(part.own, mesh, n=len(part.y)) for part in parts]
        self.source, self.train = own.source, placed[0]
        self.held_out = placed[1] if placed[1:] else None
        self.numbers, self.n, self.dtype = own.parts[0], n, parts[0].own.x.dtype
        self.held = len(own.parts[1]) if own.parts[1:] else 0

    def score(self, model: Model, part: str) -> dict[str, float]:
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

    def constant_loss(self, predictor: Predictor) -> float:
        """The training loss of the best constant prediction."""
        return predictor.constant_loss(self.parts["training"].y)


Rows = WholeTable | SharedTable
