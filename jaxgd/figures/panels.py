"""One loss against several things that it costs, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxgd.figures.style import COLOURS, DASHES, INK, logarithmic, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_against(
    losses: Mapping[str, np.ndarray],
    spent: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str = "",
) -> Figure:
    """A figure with a panel for each cost: `spent[run][cost]` at each of `losses[run]`.

    Both axes are logarithmic, so a loss for which nothing was spent is left out; the runs are named
    once, in the first panel.
    """
    from matplotlib.figure import Figure

    costs = list(next(iter(spent.values())))
    figure = Figure(figsize=(2.9 * len(costs) + 0.6, 3.7), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, cost in zip(panels, costs, strict=True):
        for k, (name, values) in enumerate(losses.items()):
            at = np.asarray(spent[name][cost])
            colour, dashes = COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]
            paid = at > 0
            axes.plot(at[paid], values[paid], color=colour, linestyle=dashes, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain(axes, "", cost, "training loss" if axes is panels[0] else "")
    for axes in panels:
        logarithmic(axes.xaxis)
    logarithmic(panels[0].yaxis)
    panels[0].legend(frameon=False, labelcolor=INK, handlelength=2.6, loc="upper right")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure
