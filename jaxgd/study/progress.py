"""How far a study is, told when it is so."""

import sys
from collections.abc import Callable
from typing import NamedTuple


class Advanced(NamedTuple):
    """What a progress callback is told: epochs of single runs that are done, and all there are."""

    done: int
    total: int


Progress = Callable[[Advanced], object]


def counted(progress: bool | Progress, total: int) -> Callable[[int], None] | None:
    """A function that is told of each epoch of so many runs, and tells the callback of all so far.

    `progress=True` rewrites a line of standard error.
    """
    if not progress:
        return None
    tell: Progress = progress if callable(progress) else _print
    return _Count(tell, total).add


class _Count:
    def __init__(self, tell: Progress, total: int) -> None:
        self.tell, self.now = tell, Advanced(0, total)

    def add(self, runs: int) -> None:
        self.now = self.now._replace(done=self.now.done + runs)
        self.tell(self.now)


def _print(now: Advanced) -> None:
    """Rewrite one line of standard error."""
    end = "\n" if now.done == now.total else ""
    line = f"{now.done} of {now.total} epochs of single runs"
    print(f"\r{line:<79}", end=end, file=sys.stderr, flush=True)
