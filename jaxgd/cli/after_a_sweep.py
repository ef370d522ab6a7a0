"""The commands to run after a sweep, ready to be pasted."""

from collections.abc import Mapping
from typing import Any

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.following import command
from jaxgd.study import Best, Sweep

_BEYOND = 3  # labels beyond the grid's edge


def next_commands(
    found: Sweep,
    best: Best | None,
    source: DataOptions,
    options: Mapping[str, Any],
    of_sweep: Mapping[str, Any],
) -> dict[str, str]:
    """By what they do: one that trains the best setting, one that looks beyond the grid's edge.

    With the options that both commands share, and those of a sweep alone. None for no best.
    """
    if best is None:
        return {}
    at = {"learning_rate": best.point["learning_rate"], "batch_size": best.batch_size}
    commands = {"train the best": command("fit", source, {**at, **options})}
    if best.edges:
        wider = {f"{name}s": _widened(found, name, name in best.edges, at[name]) for name in at}
        commands["look further"] = command("sweep", source, {**wider, **options, **of_sweep})
    return commands


def _widened(found: Sweep, name: str, at_edge: bool, best: int | float) -> tuple[int | float, ...]:
    """An axis's labels, and some more beyond its edge by its own mean step."""
    labels = sorted(found.settings.axes[name].tolist())
    if not at_edge:
        return tuple(labels)
    step = (labels[-1] / labels[0]) ** (1 / (len(labels) - 1))
    step = step if best == labels[-1] else 1 / step
    beyond = [float(f"{best * step**i:.2g}") for i in range(1, _BEYOND + 1)]
    if name == "batch_size":
        beyond = [min(found.n, max(1, round(size))) for size in beyond]
    return tuple(sorted({*labels, *beyond}))
