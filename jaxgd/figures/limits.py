"""Curves beside the limits that theory sets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxgd.figures.style import COLOURS, DASHES, INK, plain

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

    A limit is a line in its curve's colour and dashes, across the whole figure, or in ink where no
    curve has its name. Both axes are logarithmic; y is cut at `ylim`, and what is not finite lies
    above it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    style = {}
    for k, (name, (x, y)) in enumerate(curves.items()):
        style[name] = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k % len(DASHES)]}
        top = np.inf if ylim is None else ylim[1]
        drawn = np.minimum(np.nan_to_num(np.asarray(y, np.float64), nan=np.inf), 10 * top)
        axes.plot(x, drawn, linewidth=1.6, label=name, **style[name])
    line = axes.axvline if of == "x" else axes.axhline
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(ylim)
    axes.margins(x=0)
    for name, at in limits.items():
        drawn_as = style.get(name, {"color": INK, "linestyle": "-"})
        line(at, linewidth=1.0, **drawn_as)
        _name_limit(axes, of, at, f"{at:.3g}" if name in style else f"{name} = {at:.3g}")
    plain(axes, title, *labels)
    axes.legend(frameon=False, labelcolor=INK, handlelength=3, loc="best")
    return figure


def _name_limit(axes: Axes, of: str, at: float, name: str) -> None:
    """Write a limit's name at the end of its line."""
    where = ((at, 1.0), (3, -4), "left") if of == "x" else ((1.0, at), (-4, 3), "right")
    (x, y), offset, side = where
    axes.annotate(
        name,
        (x, y),
        xycoords=("data", "axes fraction") if of == "x" else ("axes fraction", "data"),
        xytext=offset,
        textcoords="offset points",
        ha=side,  # type: ignore[arg-type]
        va="top" if of == "x" else "bottom",
        rotation=90 if of == "x" else 0,
        fontsize=9,
        color=INK,
    )
