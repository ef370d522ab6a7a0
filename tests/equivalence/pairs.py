"""What a pair of trainings is called, how it is made, and what a diagnosis should find in it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgd.equivalence import Diagnosis, Recipe, Update, diagnose

BOTH = (np.float32, np.float64)


class Pair(NamedTuple):
    """Two trainings in one dtype; `make(dtype)` runs the actual and the expected one."""

    name: str
    dtype: type
    make: Callable[[type], tuple[list[Update], list[Update]]]
    recipe: Recipe | None = None
    update: int | None = None  # the first update that the fault changes; None: an honest pair
    seen_by: int | None = None  # ... and the one at which it stands out from rounding
    stage: str | None = None
    cause: str = "unknown"

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype.__name__}"

    def diagnose(self) -> Diagnosis:
        return diagnose(*self.make(self.dtype), self.recipe)


def verdict(pair: Pair, found: Diagnosis) -> str:
    """Quiet or a false alarm; named, unknown, missed, or wrong in update, stage or cause."""
    if pair.update is None:
        return "quiet" if found.update is None else "false alarm"
    if found.update is None:
        return "missed"
    if not pair.update <= found.update <= (pair.seen_by or pair.update):
        return "wrong update"
    if found.stage not in (pair.stage, "unknown"):
        return "wrong stage"
    if found.cause == "unknown":
        return "unknown"
    return "named" if found.cause == pair.cause else "wrong cause"
