"""Losses as figures, drawn without pyplot: no window, no global state."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxgd.figures.style import COLOURS, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Labels at the ends of the lines stand at least this part of the axis apart.
_LABEL_GAP = 0.065


def loss_curves(
    curves: Mapping[str, np.ndarray],
    *,
    title: str = "",
    ylabel: str = "training loss",
    first: int = 0,
) -> Figure:
    """A figure of the losses after 0, 1, … epochs, one line a run, on a logarithmic axis.

    They begin after `first` epochs. A run's name stands at the end of its line. A loss that is not
    finite or not positive breaks the line, and a line with none at all is left out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    ends = {}
    for i, (name, losses) in enumerate(curves.items()):
        drawn = np.where(np.isfinite(losses) & (losses > 0), losses, np.nan)
        if np.isnan(drawn).all():
            continue
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(first + np.arange(len(drawn)), drawn, color=colour, linewidth=1.8, label=name)
        last = int(np.flatnonzero(np.isfinite(drawn))[-1])
        ends[name] = (first + last, float(drawn[last]), colour)
    _dress(axes, title, ylabel)
    _label_ends(axes, ends)
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG image."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _dress(axes: Axes, title: str, ylabel: str) -> None:
    """Scales, and ticks at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.margins(x=0)
    plain(axes, title, "epochs", ylabel)


def _label_ends(axes: Axes, ends: Mapping[str, tuple[int, float, str]]) -> None:
    """Write each name at the right of its line's end, from below upwards, none over another."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    room = -math.inf
    for name, (epoch, loss, colour) in sorted(ends.items(), key=lambda end: end[1][1]):
        height = max((math.log(loss) - low) / (high - low), room + _LABEL_GAP)
        axes.annotate(
            name,
            (epoch, math.exp(low + height * (high - low))),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
        room = height
