"""Cost against n, d, b and epochs, one panel each."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import Timing


def save(path: Path, timings: Sequence[Timing]) -> None:
    """A figure of the scaling cases and of the mini-batch cases; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    newest = timings[-1].jax
    timings = [t for t in timings if t.jax == newest]
    scaling = [t for t in timings if t.case.group == "scaling" and t.costs]
    batches = [t for t in timings if t.case.group == "minibatch" and t.costs and t.case.d == 784]
    panels = {
        "n": [t for t in scaling if t.case.d == 30 and t.case.epochs == 1],
        "d": [t for t in scaling if t.case.n == 10_000 and t.case.epochs == 1],
        "epochs": [t for t in scaling if t.case.n == 10_000 and t.case.d == 30],
        "batch": [t for t in batches if t.case.kind == "minibatch"],
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(18, 4.5), layout="constrained")
    for axis, (name, shown) in zip(axes, panels.items(), strict=True):
        lines = defaultdict(list)
        for timing in shown:
            lines[timing.peer].append((getattr(timing.case, name), timing.least))
        for peer, points in lines.items():
            axis.loglog(*zip(*sorted(points), strict=True), marker="o", label=peer)
        unit = shown[0].case.unit if shown else ""
        axis.set(xlabel=name, ylabel=unit)
    axes[0].legend(fontsize=6)
    axes[-1].legend(fontsize=6)
    figure.savefig(path)
    plt.close(figure)
