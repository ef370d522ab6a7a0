"""Curves beside the limits that theory sets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxgd.figures.style import COLOURS, DASHES, INK, logarithmic, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves_and_limits(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Mapping[str, float],
    *,
    of: Literal["x", "y"],
    title: str = "",
    labels: tuple[str, str] = ("", ""),
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """A figure of curves (x, y) by name, and beside each the limit of its name, on either axis.

    A limit is a thin line in its curve's dashes across the whole figure, named at its end. Both
    axes are logarithmic; y is cut at `ylim`, and what is not finite lies above it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    top = np.inf if ylim is None else 10 * ylim[1]
    for name, colour, dashes in zip(curves, COLOURS, DASHES, strict=False):
        x, y = (np.asarray(values, np.float64) for values in curves[name])
        drawn = np.minimum(np.where(np.isfinite(y), y, np.inf), top)
        axes.plot(x, drawn, linewidth=2.0, color=colour, linestyle=dashes, label=name)
    axes.set_ylim(ylim)
    axes.margins(x=0)
    dashes_of = dict(zip(curves, DASHES, strict=False))
    for name, at in limits.items():
        _draw_limit(axes, of, at, f"{name}: {at:.3g}", dashes_of.get(name, "-"))
    logarithmic(axes.xaxis)
    logarithmic(axes.yaxis)
    plain(axes, title, *labels)
    axes.legend(frameon=False, labelcolor=INK, handlelength=3, loc="best")
    return figure


def _draw_limit(axes: Axes, of: str, at: float, name: str, dashes: Any) -> None:
    """A line across, and its name: along it on the side that the curves come from."""
    if of == "x":
        axes.axvline(at, linewidth=0.9, color=INK, linestyle=dashes)
        where: dict[str, Any] = {"xy": (at, 1), "xycoords": ("data", "axes fraction")}
        where |= {"xytext": (-3, -4), "ha": "right", "va": "top", "rotation": 90}
    else:
        axes.axhline(at, linewidth=0.9, color=INK, linestyle=dashes)
        where = {"xy": (0, at), "xycoords": ("axes fraction", "data")}
        where |= {"xytext": (4, 3), "ha": "left", "va": "bottom"}
    axes.annotate(name, textcoords="offset points", fontsize=9, color=INK, **where)
