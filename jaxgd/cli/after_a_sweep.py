"""The commands to run after a sweep, ready to be pasted."""

import shlex
from collections.abc import Mapping
from typing import Any

from jaxgd.cli.data_options import DataOptions
from jaxgd.study import Best, Sweep

_BEYOND = 3  # labels beyond the grid's edge


def next_commands(
    found: Sweep, best: Best | None, source: DataOptions, options: Mapping[str, Any], seeds: int
) -> dict[str, str]:
    """By what they do: one that trains the best setting, one that looks beyond the grid's edge.

    With the options that both commands share. None for no best.
    """
    if best is None:
        return {}
    data, shared = source.words(), _words(options)
    at = {"learning_rate": best.point["learning_rate"], "batch_size": best.batch_size}
    commands = {"train the best": shlex.join(["jaxgd", "fit", *data, *_words(at), *shared])}
    if best.edges:
        wider = {f"{name}s": _widened(found, name, name in best.edges, at[name]) for name in at}
        words = _words({**wider, "seeds": seeds})
        commands["look further"] = shlex.join(["jaxgd", "sweep", *data, *words, *shared])
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


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command; an empty tuple is none."""
    words = []
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        shown = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
        words += [f"--{name.replace('_', '-')}", *shown] if values else []
    return words
