"""How every figure looks: colours and dashes that grey tells apart, and no more ink than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's palette: told apart in print and by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# In grey the dashes tell lines apart, and the names at their ends.
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), "-.", (0, (8, 2, 1, 2, 1, 2)), (0, (3, 3)))
INK, FAINT = "#333333", "#E4E4E4"


def plain(axes: Axes, title: str, xlabel: str, ylabel: str, grid: str = "y") -> None:
    """Titles and labels in ink, a faint grid, and an axis below."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=12)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)


def logarithmic(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade, or at decades alone where these are many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high / low < 50 else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
