"""What `jaxgd noise` has found: on the screen, as JSON, by epoch, and the size that follows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgd.cli.terminal import console, described, numbers_table
from jaxgd.descent import State
from jaxgd.study.critical_size import CriticalSize
from jaxgd.study.estimates import Estimate
from jaxgd.study.noise_scale import GradientNoise
from jaxgd.study.two_sizes import NoiseDuring
from jaxgd.study.verdict import Prediction, prediction
from jaxgd.tabular import Dataset

_NEVER = ("never", "–")


class MeasuredRun(NamedTuple):
    """The measured training: losses and noise by epoch, and its state after the first and last."""

    losses: np.ndarray
    noise: NoiseDuring
    first: State
    last: State


class Measure(NamedTuple):
    """The noise of single rows at one state: Euclidean, and as the optimizer measures it."""

    euclidean: GradientNoise
    own: Estimate
    own_of_rows: float


@dataclass(frozen=True)
class Found:
    """All that was measured of n rows; `geometry` is how the optimizer measures a gradient,
    None where that is not known.

    `ends` are after the first epoch, where the runs branched, and after the last; `arrived` is
    where the runs ended.
    """

    n: int
    geometry: str | None
    trained: MeasuredRun
    ends: tuple[Measure, Measure]
    runs: CriticalSize | None
    arrived: Measure | None

    @property
    def prediction(self) -> Prediction | None:
        """Whether the noise scale, as the optimizer measures it, predicts the critical size."""
        if self.runs is None or self.arrived is None or self.geometry is None:
            return None
        if math.isnan(self.runs.critical.value):
            return None
        return prediction(self.runs.critical, self.ends[0].own_of_rows, self.arrived.own_of_rows)


def show(found: Found, source: str, dataset: Dataset) -> None:
    """The figures as tables, and the verdict."""
    screen = console()
    screen.print(described(source, dataset), soft_wrap=True)
    grid = numbers_table("", "after the first epoch", "after the last")
    plain = [end.euclidean for end in found.ends]
    grid.add_row("gradient, |G|²", *(_told(m.squared_norm) for m in plain))
    grid.add_row("noise of a row, tr Σ", *(_told(m.trace) for m in plain))
    grid.add_row("noise scale", *(_told(m.noise_scale) for m in plain))
    during = found.trained.noise.noise_scale
    by_epoch = [Estimate(*(part[i] for part in during)) for i in (0, -1)]
    grid.add_row("… in the epoch", *map(_told, by_epoch))
    grid.add_row("… of these rows", *(f"{m.rows.noise_scale:.3g}" for m in plain))
    if found.geometry not in ("Euclidean", None):
        grid.add_row(f"… {found.geometry}", *(f"{end.own_of_rows:.3g}" for end in found.ends))
    screen.show(grid)
    if found.geometry is None:
        screen.print("This optimizer is not Euclidean, and its own norm is not known: no verdict.")
    elif found.geometry != "Euclidean":
        screen.print("This optimizer is not Euclidean: only the last line is the noise it feels.")
    if found.runs is not None:
        runs = numbers_table("batch size", "updates", "examples", "learning rate")
        rows = zip(
            found.runs.batch_sizes, found.runs.updates, found.runs.learning_rates, strict=True
        )
        for b, updates, rate in rows:
            took = (f"{updates:.4g}", f"{b * updates:.4g}")
            runs.add_row(f"{b}", *(took if math.isfinite(updates) else _NEVER), f"{rate:.3g}")
        screen.show(runs)
        for line in _did_not_arrive(found.runs):
            screen.print(line, soft_wrap=True)
        if math.isfinite(found.runs.misfit):
            off = f"{found.runs.misfit:.0%} off the hyperbola (root mean square)"
            screen.print(f"The runs lie {off}.")
    if found.prediction is not None:
        screen.print(found.prediction.told[0].upper() + found.prediction.told[1:], soft_wrap=True)


def as_json(found: Found) -> dict[str, Any]:
    """What was measured, and the verdict, for JSON."""
    first, last = ({**_by_path(end.euclidean), "own": end.own} for end in found.ends)
    runs = None if found.runs is None else found.runs._asdict()
    if runs is not None:
        del runs["reached"]
    return {
        "n": found.n,
        "geometry": found.geometry,
        "after_first_epoch": first,
        "after_last_epoch": last,
        "epochs": by_epoch(found),
        "critical_batch_size": runs,
        "verdict": found.prediction,
        "noise_scale_of_the_runs": [
            end.own_of_rows for end in (found.ends[0], found.arrived) if end is not None
        ],
    }


def suggested(found: Found, learning_rate: float) -> tuple[int, float]:
    """A size that was tried, the nearest to the critical one by ratio, at its own rate.

    Without runs, the power of two next to the last noise scale at the training's own rate, and
    where they do not tell the critical size, the nearest to that noise scale.
    """
    scale = min(max(found.ends[-1].own_of_rows, 1.0), found.n)
    if found.runs is None:
        return min(2 ** round(math.log2(scale)), found.n), learning_rate
    runs, critical = found.runs, float(found.runs.critical.value)
    critical = scale if math.isnan(critical) else min(max(critical, 1.0), found.n)
    ratio = abs(np.log(runs.batch_sizes) - math.log(critical))
    best = int(np.argmin(np.where(np.isfinite(runs.updates), ratio, np.inf)))
    return int(runs.batch_sizes[best]), float(runs.learning_rates[best])


def by_epoch(found: Found) -> dict[str, np.ndarray]:
    """The numbers of each epoch, a column each."""
    columns: dict[str, Any] = {"epoch": np.arange(1, 1 + len(found.trained.losses))}
    columns["loss"] = found.trained.losses
    for name, estimate in found.trained.noise._asdict().items():
        ends = zip(("", "_low", "_high"), estimate, strict=True)
        columns |= {f"{name}{end}": value for end, value in ends}
    return {name: np.asarray(values) for name, values in columns.items()}


def _did_not_arrive(runs: CriticalSize) -> Iterator[str]:
    """What to say of the sizes that never reached the loss of the others."""
    never = runs.batch_sizes[~np.isfinite(runs.updates)].tolist()
    if never:
        sizes = ", ".join(map(str, never))
        yield f"A batch of {sizes} did not reach the training loss {runs.target:.4g} at any rate."
    if math.isnan(runs.critical.value):
        yield "Fewer than 3 sizes reached it: the critical batch size is not known."


def _told(estimate: Estimate) -> str:
    value, low, high = map(float, estimate)
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def _by_path(noise: GradientNoise) -> dict[str, Any]:
    """The noise with that of each leaf by its path."""
    pairs = jax.tree_util.tree_leaves_with_path(
        noise.leaves, is_leaf=lambda leaf: isinstance(leaf, GradientNoise)
    )
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in pairs}
    return {**noise._asdict(), "leaves": leaves}
