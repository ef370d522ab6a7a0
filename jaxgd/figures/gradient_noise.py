"""The noise of mini-batch gradients as figures, drawn without pyplot and readable in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MIDDLE, _FAINT = "#222222", "#8A8A8A", "#E4E4E4"


def batch_scatter(
    batch_sizes: np.ndarray,
    away: np.ndarray,
    *,
    n: int,
    trace: float,
    squared_norm: float,
    title: str = "",
) -> Figure:
    """A figure of |g_b - ḡ|² [sizes, draws] against the batch size b, with the law through it.

        tr Σ / b · (n - b) / (n - 1)

    A dot is a batch, a circle the mean of a size. The dashed line is the squared gradient of all
    rows: where the law meets it, noise and gradient are as large. That is at n B / (n - 1 + B) for
    a noise scale B. What is 0, as at b = n, is left out of the logarithmic axis.
    """
    figure, axes = _figure(title, "batch size b", "squared distance from the gradient of all rows")
    jitter = np.exp(0.12 * (np.linspace(0, 1, away.shape[1]) - 0.5))
    shown = np.where(away > _at_zero(away, trace), away, np.nan)
    x = batch_sizes[:, None] * jitter[None, :]
    axes.plot(x.ravel(), shown.ravel(), ".", color=_MIDDLE, markersize=3, label="one batch")
    means = np.where(np.isnan(shown).all(axis=1), np.nan, away.mean(axis=1))
    axes.plot(batch_sizes, means, "o", color=_INK, markerfacecolor="white", label="mean of a size")
    b = np.unique(np.geomspace(1, n, 400))[:-1]
    law = trace / b * (n - b) / (n - 1)
    axes.plot(b, law, color=_INK, linewidth=1.6, label="tr Σ / b · (n − b) / (n − 1)", zorder=1)
    axes.axhline(squared_norm, color=_INK, linewidth=1.2, linestyle=(0, (5, 3)),
                 label="squared gradient of all rows")  # fmt: skip
    low = np.nanmin([np.nanmin(shown, initial=squared_norm), squared_norm])
    axes.set_ylim(low / 2, 2 * max(np.nanmax(shown, initial=trace), squared_norm))
    axes.legend(frameon=False, labelcolor=_INK, fontsize=9, loc="upper right")
    return figure


def hyperbola(
    batch_sizes: np.ndarray,
    updates: np.ndarray,
    *,
    n: int,
    fitted: Callable[[np.ndarray], np.ndarray],
    critical: float,
    title: str = "",
) -> Figure:
    """A figure of the updates that each batch size took against the examples it saw, with the fit.

        examples = b · updates(b),   updates = fitted: see `jaxgd.study.critical_batch_size`

    Each point bears its batch size; the square is the critical one, where that is within [1, n].
    Sizes that never reached the loss, with infinite updates, are left out.
    """
    figure, axes = _figure(title, "examples seen", "updates")
    reached = np.isfinite(updates)
    if np.isfinite(critical):
        b = np.geomspace(batch_sizes[reached].min(), n, 200)
        axes.plot(b * fitted(b), fitted(b), color=_INK, linewidth=1.6, label="fitted hyperbola")
    for size, count in zip(batch_sizes[reached], updates[reached], strict=True):
        axes.annotate(f"b = {size}", (size * count, count), xytext=(7, 4),
                      textcoords="offset points", color=_INK, fontsize=9)  # fmt: skip
    axes.plot(batch_sizes[reached] * updates[reached], updates[reached], "o", color=_INK,
              markerfacecolor="white", label="trained to the same loss")  # fmt: skip
    if 1 <= critical <= n:
        here = np.asarray([critical])
        axes.plot(here * fitted(here), fitted(here), "s", color=_INK, markersize=8,
                  label=f"critical batch size, {critical:.3g}")  # fmt: skip
    axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    axes.margins(x=0.12, y=0.1)
    return figure


def _at_zero(away: np.ndarray, trace: float) -> float:
    """Distances of rounding only, as of the batch of all rows."""
    return float(np.finfo(away.dtype).eps) ** 2 * max(trace, float(away.max())) * 100


def _figure(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """A figure with two logarithmic axes, ticks at 1, 2 and 5 where there is room."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(7, 4.6), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set_title(title, loc="left", fontsize=11, color=_INK, pad=12)
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_ylabel(ylabel, color=_INK)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
