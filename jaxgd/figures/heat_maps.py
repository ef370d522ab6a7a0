"""A grid of settings as a picture: the darker, the lower the loss, in colour as in grey."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A name and the labels along it.
Axis = tuple[str, Sequence[int | float]]

_INK, _FAINT = "#333333", "#BBBBBB"
_DARK = 0.55  # of the colours' lightness: numbers on darker cells are white


def heat_map(
    losses: np.ndarray,
    rows: Axis,
    columns: Axis,
    *,
    spreads: np.ndarray | None = None,
    title: str = "",
    note: str = "",
    loss_name: str = "loss",
) -> Figure:
    """A figure of losses [rows, columns], each axis a name and its labels.

    Every cell bears its loss and, if given, its spread; the lowest is framed. A loss that is not
    finite is a hatched cell. `note` stands in italics below the title.
    """
    from matplotlib.figure import Figure

    high, wide = losses.shape
    figure = Figure(figsize=(2.2 + 0.95 * wide, 1.7 + 0.5 * high), dpi=160, layout="constrained")
    axes = figure.subplots()
    shown = np.where(np.isfinite(losses), losses, np.nan)
    shades = _shades(shown)
    picture = axes.pcolormesh(
        shades, cmap="cividis", vmin=0, vmax=1, edgecolor="white", linewidth=1
    )
    colours = picture.cmap
    for i, j in np.ndindex(losses.shape):
        spread = math.nan if spreads is None else float(spreads[i, j])
        _write(axes, i, j, float(shown[i, j]), spread)
        if np.isfinite(shades[i, j]):
            red, green, blue, _ = colours(shades[i, j])
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < _DARK
            axes.texts[-1].set_color("white" if dark else _INK)
    if np.isfinite(shown).any():
        _frame(axes, *divmod(int(np.nanargmin(shown)), wide))
    _dress(axes, rows, columns)
    axes.set_title(f"{title}\n{note}" if note else title, loc="left", fontsize=10, color=_INK)
    axes.set_ylabel(rows[0], color=_INK)
    axes.set_xlabel(f"{columns[0]}    (each cell: {loss_name})", color=_INK)
    return figure


def _shades(losses: np.ndarray) -> np.ndarray:
    """How light each cell is, in [0, 1]: by rank, so that one large loss hides no difference."""
    shades = np.full(losses.shape, np.nan)
    finite = np.isfinite(losses)
    _, rank = np.unique(losses[finite], return_inverse=True)
    shades[finite] = rank / max(1, rank.max(initial=0))
    return shades


def _write(axes: Axes, i: int, j: int, loss: float, spread: float) -> None:
    from matplotlib.patches import Rectangle

    text = "diverged" if np.isnan(loss) else f"{loss:.4g}"
    if np.isnan(loss):
        axes.add_patch(Rectangle((j, i), 1, 1, hatch="////", fc="white", ec=_FAINT, lw=0))
    elif np.isfinite(spread):
        text += f"\n±{spread:.1g}"
    behind = {"fc": "white", "ec": "none", "pad": 1} if np.isnan(loss) else None
    here = axes.text(j + 0.5, i + 0.5, text, fontsize=7, color=_INK, bbox=behind)
    here.set(ha="center", va="center", linespacing=1.0)


def _frame(axes: Axes, i: int, j: int) -> None:
    """Mark a cell by a frame, black on white: seen on every shade."""
    from matplotlib.patches import Rectangle

    for colour, width in (("white", 5.0), ("black", 2.2)):
        axes.add_patch(
            Rectangle((j, i), 1, 1, fill=False, ec=colour, lw=width, zorder=3, clip_on=False)
        )
    axes.texts[i * int(axes.get_xlim()[1]) + j].set_fontweight("bold")


def _dress(axes: Axes, rows: Axis, columns: Axis) -> None:
    axes.set_xticks(np.arange(len(columns[1])) + 0.5, [f"{label:g}" for label in columns[1]])
    axes.set_yticks(np.arange(len(rows[1])) + 0.5, [f"{label:g}" for label in rows[1]])
    axes.tick_params(length=0, labelcolor=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
