"""Whole grids of hyper-parameters, batch sizes and seeds as one program."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.inputs import check_count, count_examples
from jaxgd.objective import Loss
from jaxgd.study.groups import Shared, study_of
from jaxgd.study.labelled import Labelled
from jaxgd.study.progress import Progress
from jaxgd.study.settings import Grid, Settings


class Best(NamedTuple):
    """A setting: the optimizer's arguments, and the batch size.

    `loss` is the mean over the seeds of what the last epoch leaves, `spread` their standard
    deviation (NaN for one seed). `edges` are the axes of the grid at whose end it lies.
    """

    point: dict[str, float]
    batch_size: int
    loss: float
    spread: float
    edges: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """What came of each cell of a grid.

    `losses` have the axes (points…, batch_size, seed, epoch): each epoch's mean loss over its
    examples, before the updates that they are part of. `validation_losses` are of the validation
    rows after each epoch (None without any), `diverged` [points…, batch_size, seed] tells where a
    loss or a parameter was not finite at the end of some epoch. `programs` are what it ran as.
    """

    losses: Labelled
    validation_losses: Labelled | None
    diverged: Labelled
    programs: tuple[Shared, ...]
    settings: Settings
    n: int

    @property
    def final(self) -> Labelled:
        """What the last epoch leaves [points…, batch_size, seed]: the validation loss if any.

        Infinite for a cell that has diverged.
        """
        judged = self.losses if self.validation_losses is None else self.validation_losses
        last = judged.isel(epoch=-1)
        return Labelled(np.where(self.diverged.values, np.inf, last.values), last.axes)

    @property
    def best(self) -> Best:
        """The setting of the lowest final loss, a mean over all seeds.

        Raises FloatingPointError where every setting has diverged with some seed.
        """
        final = self.final.values.reshape(len(self.settings), -1)
        return best_of(self.settings, final, self._edges)

    def table(self) -> dict[str, np.ndarray]:
        """A long table: a column of labels for each axis, the losses, and whether it diverged."""
        columns = self.losses.columns("loss")
        if self.validation_losses is not None:
            columns["validation_loss"] = self.validation_losses.values.reshape(-1)
        if "point" in columns:
            at = {**self.settings.points, "batch_size": self.settings.sizes}
            per_point = len(self.settings) // len(self.settings.axes["point"])
            own = {n: v[::per_point][columns["point"]] for n, v in at.items() if n not in columns}
            columns = {"point": columns["point"], **own, **columns}
        epochs = len(self.losses.axes["epoch"])
        return columns | {"diverged": np.repeat(self.diverged.values.reshape(-1), epochs)}

    def _edges(self, k: int) -> tuple[str, ...]:
        """The axes at whose end a setting lies; a batch of one row, or of all, is no end."""
        axes, setting = self.settings.axes, self.settings.setting(k)
        ends = (n for n, labels in axes.items() if n != "point" and _is_end(setting[n], labels))
        return tuple(n for n in ends if n != "batch_size" or setting[n] not in (1, self.n))


def sweep(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Callable[..., Any],
    grid: Grid,
    batch_sizes: Sequence[int] | None,
    seeds: Sequence[int],
    epochs: int,
    validation: PyTree = None,
    key_of: Callable[[int], Any] = jax.random.key,
    devices: Sequence[jax.Device] | None = None,
    memory: int | float | None = None,
    progress: bool | Progress = False,
) -> Sweep:
    """Every point of a grid × batch size × seed, trained in one compiled program.

    The cell (point, b, seed) is, to rounding, the run

        train(minibatch(loss, optimizer(**point), b), epochs)(
            init_state(params, optimizer(**point)), data, key_of(seed))

    `grid` gives each argument of the optimizer its values, {"lr": [0.01, 0.1]}, or is a list of
    points, [{"lr": 0.01}, …], which name their `batch_size` too for `batch_sizes=None`. Arguments
    are traced, in the widest dtype of params.

    Batch sizes share a program by micro-batches of their greatest common divisor; where that would
    take longer than another program's compiling, or the optimizer evaluates its batch again, a size
    has its own: `Sweep.programs` tells. Cells are spread over `devices`, by default all of this
    process, in as many parts as keep each below `memory` bytes by the compiler's own figures; by
    default nine tenths of a device's free memory, or half of the machine's. A second sweep of the
    same loss, optimizer and shapes compiles nothing.

    `progress` is told after each epoch of a part, or prints a line. Warns where the best setting
    lies on the grid's edge, or none is finite.

    Departs from single runs: sums are taken in another order. Within 1e-5 of a run's largest loss
    in float32 and 1e-10 in float64, until it diverges (tests/study/test_sweep.py).
    """
    epochs = check_count("epochs", epochs)
    study = study_of(
        loss,
        params,
        data,
        optimizer=optimizer,
        grid=grid,
        batch_sizes=batch_sizes,
        seeds=seeds,
        total=lambda settings: settings * epochs,
        validation=validation,
        key_of=key_of,
        devices=devices,
        memory=memory,
        progress=progress,
        name="sweep",
    )
    settings = study.settings
    outcome, _, programs = study.train(settings, range(epochs))
    of_cell = {**settings.axes, "seed": study.seeds}
    of_epoch = {**of_cell, "epoch": np.arange(1, epochs + 1)}
    found = Sweep(
        losses=_labelled(outcome.loss, of_epoch),
        validation_losses=None
        if outcome.validation_loss is None
        else _labelled(outcome.validation_loss, of_epoch),
        diverged=_labelled(~outcome.finite.all(-1), of_cell),
        programs=programs,
        settings=settings,
        n=count_examples(data),
    )
    _warn(found)
    return found


def best_of(settings: Settings, final: np.ndarray, edges: Callable[[int], tuple[str, ...]]) -> Best:
    """The setting of the lowest mean of its final losses [settings, seeds]."""
    means = final.mean(axis=1)
    k = int(np.argmin(np.where(np.isnan(means), np.inf, means)))
    if not np.isfinite(means[k]):
        raise FloatingPointError(
            "a setting must be finite with every seed to be the best; none is. "
            "Use smaller learning rates."
        )
    spread = float(np.std(final[k], ddof=1)) if final.shape[1] > 1 else float("nan")
    size = int(settings.sizes[k])
    return Best(settings.point(k), size, float(means[k]), spread, edges(k))


def _labelled(cells: np.ndarray, axes: dict[str, np.ndarray]) -> Labelled:
    """Cells [seeds, settings, …] along their named axes."""
    values = np.moveaxis(cells, 0, 1)
    return Labelled(values.reshape([len(labels) for labels in axes.values()]), axes)


def _is_end(label: int | float, labels: np.ndarray) -> bool:
    """Whether it is the smallest or the largest: below a momentum or a decay of 0 there is none."""
    return len(labels) > 1 and label in (labels.min(), labels.max()) and label != 0


def _warn(found: Sweep) -> None:
    try:
        best = found.best
    except FloatingPointError as error:
        warnings.warn(str(error), stacklevel=3)
        return
    at = {**best.point, "batch_size": best.batch_size}
    for name in best.edges:
        labels = found.settings.axes[name]
        end = "largest" if at[name] == labels.max() else "smallest"
        warnings.warn(
            f"the best setting lies on the grid's edge: {name}={at[name]:g} is the {end} tried. "
            "Widen the grid there.",
            stacklevel=3,
        )
