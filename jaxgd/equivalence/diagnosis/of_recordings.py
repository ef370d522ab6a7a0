"""Two recordings on disk: what was set otherwise, where the trainings part, what cannot be seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jaxgd.equivalence.comparison.leaf_by_leaf import compare
from jaxgd.equivalence.comparison.report import Report
from jaxgd.equivalence.diagnosis.stages import Diagnosis, diagnose
from jaxgd.equivalence.recordings.configuration import Setting, set_otherwise
from jaxgd.equivalence.recordings.on_disk import DiskRecording
from jaxgd.equivalence.recordings.pytree import in_memory, leaves_of
from jaxgd.equivalence.recordings.recorder import SKETCH
from jaxgd.equivalence.recordings.update import Recording
from jaxgd.equivalence.rule.recipe import Recipe

_RECIPE = "recipe"  # in a configuration: the fields of a Recipe


@dataclass(frozen=True)
class Difference:
    """What two recordings differ in; `str` tells it.

    diagnosis, report: None before the first update; the report is of the parameters.
    every, keep: what was kept: every k-th update, and arrays, sketches or digests.
    of_one_entry: from sketches, what a single entry must stray, by the way that an entry goes.
    """

    settings: tuple[Setting, ...]
    diagnosis: Diagnosis | None
    report: Report | None
    every: int
    keep: str
    of_one_entry: float = 0.0

    @property
    def same(self) -> bool:
        """Whether nothing parts, and that proves something."""
        if self.diagnosis is None or self.report is None or self.diagnosis.update is not None:
            return False
        if "buffers" in self.diagnosis.not_judged:
            return False
        amplified = self.report.verdict == "parted"
        bits = self.keep == "digests" and self.report.parted_at is None
        return amplified or bits or self.report.verdict == "equivalent"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.settings:
            yield "Set otherwise:"
            yield from (f"  {setting}" for setting in self.settings)
        if self.diagnosis is None or self.report is None:
            yield "No update was recorded yet: only the configurations are compared."
            return
        yield from self._costs(self.report)
        told = self.diagnosis.update is not None or self.report.verdict == "parted"
        if self.keep == "digests" and not told:
            yield f"The bits are the same: updates 0 to {self.report.entries - 1}."
        else:
            yield str(self.diagnosis) if told else str(self.report)
            yield from () if told else self.diagnosis.left_out

    def _costs(self, report: Report) -> Iterator[str]:
        """What cannot be seen in what was kept."""
        hidden = float(report.resolution[-1])
        if self.every > 1:
            yield (
                f"One update in {self.every} was kept: the steps between were not judged, and the "
                "optimizer's state before each one is unknown. What is left of a difference at the "
                f"next one kept shows from {hidden:.1g} of the distance travelled on."
            )
        if self.keep == "sketches":
            yield (
                f"Sketches of {SKETCH} numbers a leaf were kept: a difference spread over a leaf "
                f"shows from {hidden:.1g} of the distance travelled on, one in a single entry from "
                f"{self.of_one_entry:.1g} of the way that an entry goes. Clipping, and a rule that "
                "is not linear in the gradient, were not judged."
            )
        if self.keep == "digests":
            yield (
                "Digests were kept: they tell whether bits are the same, not how far apart they "
                "are. Another machine's rounding parts them, too."
            )


def difference(actual: DiskRecording, expected: DiskRecording) -> Difference:
    """The difference of two recordings, which are read a block at a time.

    Of trainings that are the same, each number is read twice: by the digest of its file, and to be
    compared. Memory: seven of the largest leaf in float32, and the batches and outputs of all
    updates.

    ValueError when one keeps other updates than the other, or keeps them otherwise, or holds other
    leaves.
    """
    settings = set_otherwise(actual.configuration, expected.configuration)
    every, keep = expected.manifest["every"], expected.keep
    if not len(actual) or not len(expected):
        return Difference(_readable(settings), None, None, every, keep)
    if actual.manifest["every"] != every:
        raise ValueError(
            "Both recordings keep the same updates; got every "
            f"{actual.manifest['every']} and every {every}. Record both alike."
        )
    if actual.keep != keep:
        raise ValueError(
            f"Both recordings keep the same; got {actual.keep} and {keep}. Record both alike."
        )
    ours, theirs = [*actual], [*expected]
    shared = min(len(ours), len(theirs))
    left, right = (
        [side[0].params, *(update.updated for update in side[:shared])] for side in (ours, theirs)
    )
    report = compare(left, right)
    found = diagnose(ours, theirs, _recipe(expected, every, keep), report=report)
    one = _of_one_entry(theirs, expected, report) if keep == "sketches" else 0.0
    return Difference(_readable(settings), found, report, every, keep, one)


def _recipe(expected: DiskRecording, every: int, keep: str) -> Recipe | None:
    """The recipe that the recording names, where what was kept can be judged by it.

    Sketches add up as what they are sketches of: they follow a rule that is linear.
    """
    options = expected.configuration.get(_RECIPE)
    if options is None or every > 1 or keep == "digests":
        return None
    recipe = Recipe(**options)
    linear = recipe.rule == "sgd" and recipe.max_norm is None and recipe.max_value is None
    return recipe if linear or keep == "arrays" else None


def _readable(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Those that can be read in a line: no tables of learning rates."""
    return tuple(s for s in settings if len(repr(s.actual)) + len(repr(s.expected)) < _LONGEST)


_LONGEST = 400


def _of_one_entry(recorded: Recording, recording: DiskRecording, report: Report) -> float:
    """What one entry must stray to be seen in its leaf's sketch, by the way an entry goes.

        allowed / (|sketch of the way| / √entries)

    In the leaf where that is largest; a stray entry is in its sketch as it is.
    """
    start, end = (
        leaves_of(in_memory(tree), "params") for tree in (recorded[0].params, recorded[-1].updated)
    )
    entries, largest = recording.manifest["entries"], 0.0
    for leaf in report.leaves:
        way = end[leaf.path].astype(np.float64) - start[leaf.path]
        typical = float(np.linalg.norm(way)) / entries.get(leaf.path, way.size) ** 0.5
        allowed = leaf.resolution[-1] * float(np.abs(way).max(initial=0.0))
        if typical > 0 and entries.get(leaf.path, 0) > SKETCH:
            largest = max(largest, allowed / typical)
    return largest
