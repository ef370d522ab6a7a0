"""Paths of descents over the loss of two parameters, as over a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxgd.figures.style import COLOURS, INK, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def paths_over_surface(
    first: np.ndarray,
    second: np.ndarray,
    surface: np.ndarray,
    paths: Mapping[str, np.ndarray],
    *,
    title: str = "",
    labels: tuple[str, str] = ("w", "b"),
) -> Figure:
    """A figure of each path [points, 2] over the contours of surface [second, first], side by side.

    A dot marks where the paths begin, a cross where each ends, a circle the grid's lowest loss.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(paths) + 0.6, 3.7), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(paths), sharex=True, sharey=True, squeeze=False)[0]
    levels = np.geomspace(max(surface.min(), 1e-12) * 1.02, surface.max(), 16)
    j, i = np.unravel_index(np.argmin(surface), surface.shape)
    for k, (axes, (name, path)) in enumerate(zip(panels, paths.items(), strict=True)):
        axes.contour(first, second, surface, levels=levels, colors="#B5B5B5", linewidths=0.7)
        # Many updates lie over one another: thin and pale, so that the surface still shows.
        thin = 1 if len(path) < 1000 else 1000 / len(path)
        width, shade = 0.45 + 1.0 * thin, 0.6 + 0.35 * thin
        axes.plot(*path.T, color=COLOURS[k % len(COLOURS)], linewidth=width, alpha=shade)
        axes.plot(*path[0], "o", color=INK, markersize=6)
        axes.plot(*path[-1], "X", color=INK, markersize=8)
        axes.plot(first[i], second[j], "o", color=INK, markersize=9, markerfacecolor="none")
        plain(axes, name, labels[0], labels[1] if k == 0 else "", grid="")
        axes.set_xlim(first[0], first[-1])
        axes.set_ylim(second[0], second[-1])
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    return figure
