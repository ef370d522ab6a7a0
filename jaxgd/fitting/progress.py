"""What a caller is told while a fit runs, and how it may stop it."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Progressed(NamedTuple):
    """What a progress callback is told after each segment of an epoch.

    `epoch` epochs and `update` updates of the next are done; `loss` is the mean over the examples
    of the epoch so far, `validation_loss` is that after a whole epoch, else None.
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    update: int
    state: Any


class Stop(Exception):
    """Raised by a progress callback to end the fit there, with nothing lost."""


Progress = Callable[[Progressed], bool | None]


def reporter(progress: bool | Progress, prints: bool = True) -> Progress | None:
    """The callback that is meant: the given one, one that prints a line if it may, or none."""
    if callable(progress):
        return progress
    return _print_progress if progress and prints else None


def asks_to_stop(report: Progress | None, now: Progressed) -> bool:
    """Tell the callback; whether it returned something true or raised `Stop`."""
    if report is None:
        return False
    try:
        return bool(report(now))
    except Stop:
        return True


def _print_progress(now: Progressed) -> None:
    """Rewrite one line of standard error."""
    held_out = "" if now.validation_loss is None else f"  validation {now.validation_loss:.4g}"
    end = "\n" if now.epoch == now.epochs else ""
    line = f"epoch {now.epoch}/{now.epochs}  loss {now.loss:.4g}{held_out}"
    print(f"\r{line:<79}", end=end, file=sys.stderr, flush=True)
