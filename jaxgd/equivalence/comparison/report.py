"""What a comparison of two runs found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, Shaped

from jaxgd.equivalence.comparison.deviations import Series

_SHOWN = 5  # leaves in the short form
_COLUMNS = ("error", "update error", "x allowed", "median ULP", "worst entry: actual, expected")


@dataclass(frozen=True)
class LeafReport:
    """One leaf, update by update."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    whole: bool  # the expected leaf holds whole numbers in every update, as a step counter does
    median_ulp: Series  # of integers, the median difference
    error: Series  # largest |actual - expected|, in units of the leaf's scale
    update_error: Series  # largest difference of the two updates, in units of the update's scale
    times_allowed: Series  # the larger of both errors, by what is allowed; above 1 they part
    resolution: Series  # what is allowed, by the distance travelled; of one entry, by its scale
    worst: Int[np.ndarray, "updates ndim"]  # index of the entry with the largest error
    actual: Shaped[np.ndarray, " updates"]  # ... its value
    expected: Shaped[np.ndarray, " updates"]  # ... and what it should be

    @property
    def parted_at(self) -> int | None:
        """The first update at which the leaf strays farther than allowed."""
        beyond = np.flatnonzero(self.times_allowed > 1)
        return int(beyond[0]) if beyond.size else None

    @property
    def at_rest(self) -> bool:
        """Whether the expected leaf never moves; of one entry, whether it is zero."""
        return bool(np.isinf(self.resolution).all())

    @property
    def name(self) -> str:
        """Path, dtype and shape, as in `'layers.0.weight' float32[4, 3]`."""
        return f"'{self.path}' {self.dtype}{list(self.shape)}"

    def cells(self, update: int) -> list[str]:
        """The numbers of one update, in the order of the table's columns."""
        index = list(map(int, self.worst[update]))
        return [
            f"{self.error[update]:.1e}",
            f"{self.update_error[update]:.1e}",
            f"{self.times_allowed[update]:.2g}",
            f"{self.median_ulp[update]:.3g}",
            f"{index} {self.actual[update]}, {self.expected[update]}",
        ]


@dataclass(frozen=True)
class Report:
    """Two runs compared; `str(report)` is the short form, `report.table()` every number.

    Update t is entry t of the trajectories: the one after t updates, if they begin with the start.

    verdict "parted": at update `parted_at` the runs differ by more than is allowed.
    verdict "unproven": they do not, but past update `provable_until` rounding may hide more than
    `resolves` of the distance travelled, or both runs are NaN.
    verdict "equivalent": neither.
    """

    leaves: tuple[LeafReport, ...]
    entries: int  # of the trajectories: the updates, and the start if they begin with it
    finite_until: int  # the last update before the first NaN that both runs hold
    allowed: str  # the tolerance in words
    tenfold_time: (
        float | None
    )  # the updates in which the difference grows tenfold, before they part
    rounding_tenfold_time: (
        float | None
    )  # ... and the reference's rounding, if calibrated and chaotic
    resolves: float  # the largest resolution that proves something

    @property
    def parted_at(self) -> int | None:
        """The first update at which a leaf strays farther than allowed."""
        return min((t for leaf in self.leaves if (t := leaf.parted_at) is not None), default=None)

    @property
    def parted(self) -> tuple[LeafReport, ...]:
        """The leaves that part first, the one farthest beyond what is allowed in front."""
        at = self.parted_at
        leaves = [leaf for leaf in self.leaves if at is not None and leaf.parted_at == at]
        return tuple(sorted(leaves, key=lambda leaf: -leaf.times_allowed[at]))

    @property
    def resolution(self) -> Series:
        """The difference that would have shown, as a fraction of the distance travelled.

        At each update, the fraction that at least half of the numbers that move would have shown:
        one leaf of pure rounding does not spoil a proof, nor does a step counter make one.
        """
        fractions = np.stack([leaf.resolution for leaf in self.leaves])
        only_counters = all(leaf.whole and not leaf.at_rest for leaf in self.leaves)
        sizes = np.array(
            [np.prod(leaf.shape) * (only_counters or not leaf.whole) for leaf in self.leaves]
        )
        order = np.argsort(fractions, axis=0)
        moving = np.where(np.isfinite(fractions), sizes[:, None], 0.0)
        filled = np.take_along_axis(moving, order, 0).cumsum(0)
        middle = np.argmax(filled >= filled[-1] / 2, axis=0)
        half = np.take_along_axis(np.take_along_axis(fractions, order, 0), middle[None], 0)[0]
        return np.where(filled[-1] > 0, half, np.inf)

    @property
    def provable_until(self) -> int:
        """The last update at which the tolerance is fine enough to prove something."""
        fine = np.flatnonzero(self.resolution <= self.resolves)
        return min(int(fine[-1]) if fine.size else 0, self.finite_until)

    @property
    def verdict(self) -> Literal["equivalent", "parted", "unproven"]:
        """Whether the runs are the same, to rounding."""
        at = self.parted_at
        if at is not None and (at <= self.provable_until or self.provable_until == 0):
            return "parted"
        return "equivalent" if at is None and self._proven else "unproven"

    @property
    def _proven(self) -> bool:
        end = self.entries - 1
        return self.finite_until == end and bool(self.resolution[end] <= self.resolves)

    def __str__(self) -> str:
        headline = {"parted": self._parted, "unproven": self._unproven, "equivalent": self._same}
        return "\n".join([*headline[self.verdict](), f"Allowed: {self.allowed}."])

    def table(self) -> str:
        """Every number of the report: one line for each leaf and update, tab-separated."""
        return "\n".join(["\t".join(line) for line in self._rows()]) + "\n"

    def _rows(self) -> Iterator[list[str]]:
        yield ["update", "leaf", *_COLUMNS]
        for t in range(self.entries):
            for leaf in self.leaves:
                yield [str(t), leaf.path, *leaf.cells(t)]

    def _parted(self) -> list[str]:
        at = self.parted_at
        assert at is not None
        first = self.parted[0]
        lines = [
            f"The runs part at update {at} of {self.entries - 1}, in {first.name}.",
            *_aligned(at, self.parted),
        ]
        others = len(self.leaves) - len(self.parted)
        if others:
            later = sum(leaf.parted_at is not None for leaf in self.leaves) - len(self.parted)
            lines.append(f"{later or 'None'} of the other {_leaves(others)} parted later.")
        if at == 0:
            lines.append("That is the first entry: the start, if the runs begin with it.")
        else:
            before = max(leaf.times_allowed[:at].max() for leaf in self.leaves)
            used = f"use at most {before:.1g} of what is allowed" if before else "agree exactly"
            lines.append(f"Before, they {used}.")
        if at < self.entries - 1:
            lines.append(f"At the last update it is {first.error[-1]:.1e} of its scale off.")
        if self.rounding_tenfold_time is not None:
            return lines
        if self.tenfold_time is not None:
            lines.append(
                f"The difference grows by 10x every {self.tenfold_time:.3g} updates, as rounding "
                "does in a chaotic run: calibrate(run) tells whether it is."
            )
        else:
            lines.append("prove(step, …) tells a fault from rounding that the optimizer amplifies.")
        return lines

    def _unproven(self) -> list[str]:
        end = self.entries - 1
        if self.finite_until < end:
            why = f"Both runs hold NaN from update {self.finite_until + 1} on."
        elif self.rounding_tenfold_time is not None:
            every = f"{self.rounding_tenfold_time:.3g} updates"
            why = f"Rounding grows by 10x every {every}: the run is chaotic."
        elif all(leaf.at_rest for leaf in self.leaves):
            what = "every update of the" if end else "the only entry of the"
            why = f"Nothing moves: {what} expected run is zero."
        else:
            why = self._hidden()
        remedy = (
            f"Compare until={self.provable_until}, or lower the learning rate."
            if self.provable_until > 0
            else "Compare a run that moves farther, or in a finer dtype."
        )
        return [
            f"Nothing can be proven past update {self.provable_until} of {end}.",
            why,
            remedy,
        ]

    def _hidden(self) -> str:
        """Why the tolerance is too coarse to prove anything."""
        hidden = self.resolution[-1]
        if np.isinf(hidden):
            return "Nothing moves but what holds whole numbers, as a step counter does."
        return (
            f"A difference of up to {hidden:.1g} of the distance travelled could hide in what is "
            f"allowed, more than resolves={self.resolves:g}."
        )

    def _same(self) -> list[str]:
        what = f"updates 0 to {self.entries - 1} of {_leaves(len(self.leaves))}"
        closest = max(self.leaves, key=lambda leaf: leaf.times_allowed.max())
        t = int(closest.times_allowed.argmax())
        if closest.times_allowed[t] == 0:
            lines = [f"The runs are exactly the same: {what}."]
        else:
            lines = [
                f"The runs are the same, to rounding: {what}.",
                f"They use at most {closest.times_allowed[t]:.1g} of what is allowed, "
                f"in {closest.name} at update {t}.",
            ]
        if self.entries > 1:
            lines.append(
                f"A difference of {self.resolution.min():.1g} of the distance travelled "
                "would have shown."
            )
        return lines


def _leaves(count: int) -> str:
    return f"{count} {'leaf' if count == 1 else 'leaves'}"


def _aligned(update: int, leaves: tuple[LeafReport, ...]) -> list[str]:
    """A table of the leaves at one update, with aligned columns."""
    rows = [("", *_COLUMNS), *((leaf.path, *leaf.cells(update)) for leaf in leaves[:_SHOWN])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([path.ljust(widths[0]), *map(str.rjust, numbers, widths[1:]), worst])
        for path, *numbers, worst in rows
    ]
    more = len(leaves) - _SHOWN
    return [*(f"  {line}" for line in lines), *([f"  and {more} more"] if more > 0 else [])]
