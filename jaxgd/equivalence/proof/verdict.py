"""What a proof by induction found, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxgd.equivalence.diagnosis.first_layer import Parting


@dataclass(frozen=True)
class Proof:
    """Whether two trainings are the same; `str` tells it.

    verdict "parted": in `update` a stage differs by more than its rounding.
    verdict "unproven": none does, but `reasons` say what would have had to be known or finer.
    verdict "equivalent": starts, batches, passes and steps agree in every update.

    update: the first update in which a stage parts, counted from 1; 0 is the start.
    times_allowed: by how much it parts: the difference, by what rounding may do.
    layer: where activations were recorded, the first layer that parts.
    cause: the known difference that explains it, or "unknown".
    resolution: by stage, the fraction of its scale (of the parameters: of the way) that could hide
        in at least half of the numbers, at the median update.
    null_directions: the leaves whose gradient is rounding, so that moving them cannot change the
        function; an optimizer that divides by the gradient's size makes full steps of it.
    settled: the updates at which the two sides differ by more than two twins do, but by no more
        than one of many more twins: rounding that jumps, as where it decides on a maximum's side.
    """

    verdict: Literal["equivalent", "parted", "unproven"]
    updates: int
    update: int | None = None
    stage: str | None = None
    leaf: str = ""
    times_allowed: float = 0.0
    cause: str = "unknown"
    resolution: Mapping[str, float] | None = None
    null_directions: tuple[str, ...] = ()
    settled: tuple[int, ...] = ()
    not_recorded: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    layer: Parting | None = None

    def __str__(self) -> str:
        heading = {"parted": self._parted, "unproven": self._unproven, "equivalent": self._same}
        lines = heading[self.verdict]()
        if self.resolution:
            shown = ", ".join(f"{stage} {size:.1g}" for stage, size in self.resolution.items())
            lines.append(f"A difference would have shown from this fraction on: {shown}.")
        if self.not_recorded:
            lines.append(f"Not recorded, and judged by what follows: {_listed(self.not_recorded)}.")
        if self.null_directions:
            many = len(self.null_directions) > 1
            lines.append(
                f"Null direction{'s' if many else ''}: {_listed(self.null_directions)}. "
                f"The gradient is all rounding there: it cannot change the function."
            )
        if self.settled:
            lines.append(
                f"In update {_listed(self.settled)} rounding jumps: the reference's own twins "
                "differ as much."
            )
        return "\n".join(lines)

    def _same(self) -> list[str]:
        return [f"The same training, update by update: {self.updates} updates."]

    def _parted(self) -> list[str]:
        where = f"in update {self.update} of {self.updates}" if self.update else "at the start"
        of = f" of '{self.leaf}'" if self.leaf else ""
        lines = [f"The trainings part {where}.", f"Stage: {self.stage}{of}."]
        if self.times_allowed:
            lines[-1] = f"Stage: {self.stage}{of}, {self.times_allowed:.2g} x what rounding may do."
        where_in_model = [str(self.layer)] if self.layer is not None else []
        return [*lines, *where_in_model, f"Cause: {self.cause}."]

    def _unproven(self) -> list[str]:
        return [f"Nothing parts in {self.updates} updates, but that proves nothing.", *self.reasons]


def _listed(names: tuple[object, ...], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more
