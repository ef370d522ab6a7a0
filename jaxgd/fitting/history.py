"""What a fit leaves behind: the losses, the time it took, and the state to go on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import PyTree


class Position(NamedTuple):
    """How far a training is: the epochs that are done, and of the next one the updates."""

    epoch: int
    update: int = 0


@dataclass(frozen=True)
class History:
    """What a run recorded.

    `loss` [epochs, updates] is each update's mean batch loss before the update, NaN for the updates
    of a first or last epoch that this run did not make; `epoch_loss` [epochs] their mean over the
    examples; `validation_loss` the mean loss of the validation rows after each whole epoch
    (None without any). An update that was let go (`on_divergence="skip"`) has NaN in the place of a
    loss that was not finite. Compiling and running are timed apart, in seconds. `dtype` is the
    precision of the params and `precision` that of matrix products (see `jaxgd.in_precision`);
    `stopped_early` tells whether patience ended the run, and `learning_rate` the rate that was
    given by that name, or found (None if the optimizer had its own).
    """

    loss: np.ndarray
    epoch_loss: np.ndarray
    validation_loss: np.ndarray | None
    compile_seconds: float
    run_seconds: float
    dtype: str
    stopped_early: bool = False
    precision: str = "default"
    learning_rate: float | None = None


class Fit(NamedTuple):
    """A run: the trained params, the state and position to go on from, and the history.

    The params are the state's, or with `patience` those of the lowest validation loss.
    """

    params: PyTree
    state: Any
    history: History
    position: Position


class Record:
    """The history while it is being written."""

    def __init__(
        self,
        n: int,
        batch_size: int,
        dtype: str,
        precision: str,
        learning_rate: float | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.batch_sizes = np.diff(np.arange(0, n, batch_size), append=n)
        self.dtype, self.precision, self.learning_rate = dtype, precision, learning_rate
        self.compile_seconds = self.run_seconds = 0.0
        self.loss: dict[int, np.ndarray] = {}
        self.validation_loss: list[float] = []

    def updates_in(self, rows: int) -> int:
        """How many updates so many rows of full batches are."""
        return rows // self.batch_size

    def add(self, position: Position, losses: np.ndarray) -> None:
        """Enter the losses of the updates from this position on, all of one epoch."""
        epoch, update = position
        nothing = np.full(len(self.batch_sizes), np.nan, losses.dtype)
        self.loss.setdefault(epoch, nothing)[update : update + len(losses)] = losses

    def table(self) -> np.ndarray:
        """The losses [epochs, updates], NaN for updates that were not made."""
        return np.array([*self.loss.values()]).reshape(-1, len(self.batch_sizes))

    def restore(
        self, epochs: Sequence[int], table: np.ndarray, validation_loss: np.ndarray
    ) -> None:
        """Take up what an earlier process recorded."""
        self.loss = {e: row.copy() for e, row in zip(epochs, table, strict=True)}
        self.validation_loss = validation_loss.tolist()

    def epoch_loss(self, epoch: int) -> float:
        """The mean loss over the examples of an epoch, as far as it was run."""
        made = ~np.isnan(self.loss[epoch])
        if not made.any():
            return float("nan")
        return float(np.average(self.loss[epoch][made], weights=self.batch_sizes[made]))

    def history(self, stopped_early: bool = False) -> History:
        """What was recorded so far."""
        return History(
            loss=self.table(),
            epoch_loss=np.array([self.epoch_loss(epoch) for epoch in self.loss]),
            validation_loss=np.array(self.validation_loss) if self.validation_loss else None,
            compile_seconds=self.compile_seconds,
            run_seconds=self.run_seconds,
            dtype=self.dtype,
            stopped_early=stopped_early,
            precision=self.precision,
            learning_rate=self.learning_rate,
        )
