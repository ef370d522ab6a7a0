"""What `jaxgd sweep` tells of what it found: pictures, a table, JSON, the screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table as Grid

from jaxgd.cli.terminal import console, numbers_table, show_next
from jaxgd.figures.curves import loss_curves
from jaxgd.figures.heat_maps import heat_map
from jaxgd.study import Best, Labelled, Sweep


class Found(NamedTuple):
    """A sweep over learning rates and batch sizes, and what is to be said of it.

    `best` is None where every setting diverged with some seed; `judged` names the loss that
    decides; `commands` are those to run next, by what they do; `title` says what was trained.
    """

    sweep: Sweep
    best: Best | None
    judged: str
    commands: Mapping[str, str]
    title: str

    @property
    def means(self) -> Labelled:
        """What the last epoch leaves [learning_rate, batch_size], a mean over the seeds."""
        return self.sweep.final.over("seed")

    @property
    def spreads(self) -> np.ndarray:
        """The seeds' standard deviation, NaN for one seed or where one has diverged."""
        values = self.sweep.final.values
        if values.shape[-1] == 1:
            return np.full(values.shape[:-1], np.nan)
        with np.errstate(invalid="ignore"):
            return np.std(values, axis=-1, ddof=1)

    @property
    def seeds(self) -> int:
        """How many there are."""
        return self.sweep.final.shape[-1]

    @property
    def shown(self) -> str:
        """What stands in a cell, in words."""
        several = f"mean of {self.seeds} seeds" if self.seeds > 1 else "one seed"
        return f"{self.judged}, {several}"


def heat_map_of(found: Found) -> Figure:
    """The means as a heat map, with a word about the grid's edge."""
    note, best, means = "no setting was finite with every seed", found.best, found.means
    if best is not None:
        edges = " and ".join(name.replace("_", " ") for name in best.edges)
        note = f"the best lies on the grid's edge: widen the {edges}" if edges else ""
    spread = ", ± their standard deviation" if found.seeds > 1 else ""
    return heat_map(
        means.values,
        ("learning rate", means.axes["learning_rate"].tolist()),
        ("batch size", means.axes["batch_size"].tolist()),
        spreads=found.spreads,
        title=found.title,
        note=note,
        loss_name=f"{found.shown}{spread}",
    )


def curves_of(found: Found) -> Figure:
    """The mean curve of each batch size at its best rate."""
    sweep, means = found.sweep, found.means
    losses = sweep.losses if sweep.validation_losses is None else sweep.validation_losses
    curves = {}
    for j, size in enumerate(means.axes["batch_size"]):
        i = int(np.argmin(means.values[:, j]))
        name = f"b = {size}, rate {means.axes['learning_rate'][i]:g}"
        curves[name] = losses.isel(learning_rate=i, batch_size=j).over("seed").values
    return loss_curves(curves, title=found.title, ylabel=found.judged, first=1)


def as_json(found: Found) -> dict[str, Any]:
    """What was found, for JSON."""
    sweep, best = found.sweep, found.best
    diverged = sweep.diverged.over("seed", np.sum).values
    columns = (found.means.values, found.spreads, diverged)
    rows = zip(*(column.reshape(-1).tolist() for column in columns), strict=True)
    settings = [
        {**sweep.settings.setting(k), "loss": x, "spread": s, "diverged": d}
        for k, (x, s, d) in enumerate(rows)
    ]
    told = best and {
        **best.point,
        "batch_size": best.batch_size,
        "loss": best.loss,
        "spread": best.spread,
        "edges": best.edges,
    }
    return {
        "best": told,
        "settings": settings,
        "programs": [str(program) for program in sweep.programs],
    }


def show(found: Found, files: Mapping[str, Path], about: str) -> None:
    """The same on the screen."""
    screen, best = console(), found.best
    screen.print(about, soft_wrap=True)
    for program in found.sweep.programs:
        screen.print(f"{program}", soft_wrap=True)
    screen.print(f"{found.shown}, by learning rate and batch size")
    screen.show(_grid(found.means))
    if best is not None:
        spread = f" ± {best.spread:.2g}" if found.seeds > 1 else ""
        screen.print(
            f"best: learning rate {best.point['learning_rate']:g}, batch size {best.batch_size}: "
            f"{found.judged} {best.loss:.4g}{spread}"
        )
    show_next(found.commands, files)


def _grid(means: Labelled) -> Grid:
    grid = numbers_table("", *(str(size) for size in means.axes["batch_size"]))
    for rate, row in zip(means.axes["learning_rate"], means.values, strict=True):
        cells = (f"{loss:.4g}" if np.isfinite(loss) else "diverged" for loss in row)
        grid.add_row(f"{rate:g}", *cells)
    return grid
