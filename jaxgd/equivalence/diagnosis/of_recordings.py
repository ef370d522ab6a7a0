"""Two recordings on disk: what was set otherwise, and where the trainings part."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxgd.equivalence.comparison.leaf_by_leaf import compare
from jaxgd.equivalence.comparison.report import Report
from jaxgd.equivalence.diagnosis.stages import Diagnosis, diagnose
from jaxgd.equivalence.recordings.on_disk import DiskRecording
from jaxgd.equivalence.rule.recipe import Recipe

_RECIPE = "recipe"  # in a configuration: the fields of a Recipe


@dataclass(frozen=True)
class Difference:
    """What two recordings differ in; `str` tells it."""

    settings: tuple[tuple[str, object, object], ...]  # name, actual, expected
    diagnosis: Diagnosis
    report: Report  # of the parameters
    every: int  # only every k-th update was kept

    @property
    def same(self) -> bool:
        """Whether nothing parts, and that proves something."""
        amplified = self.report.verdict == "parted"
        return self.diagnosis.update is None and (amplified or self.report.verdict == "equivalent")

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.settings:
            yield "Set otherwise:"
            for name, ours, theirs in self.settings:
                yield f"  {name}: {ours!r}, not {theirs!r}"
        if self.every > 1:
            yield (
                f"One update in {self.every} was kept: the steps between were not judged, and the "
                "optimizer's state before each one is unknown."
            )
        told = self.diagnosis.update is not None or self.report.verdict == "parted"
        yield str(self.diagnosis) if told else str(self.report)


def difference(actual: DiskRecording, expected: DiskRecording) -> Difference:
    """The difference of two recordings, which are read a block at a time.

    Memory: two of the largest leaf, and the batches and outputs of all updates.

    ValueError when one keeps other updates than the other, or other leaves.
    """
    every = expected.manifest["every"]
    if actual.manifest["every"] != every:
        raise ValueError(
            "Both recordings keep the same updates; got every "
            f"{actual.manifest['every']} and every {every}. Record both alike."
        )
    options = expected.configuration.get(_RECIPE)
    recipe = Recipe(**options) if options is not None and every == 1 else None
    ours, theirs = [*actual], [*expected]
    shared = min(len(ours), len(theirs))
    left, right = (
        [side[0].params, *(update.updated for update in side[:shared])] for side in (ours, theirs)
    )
    found, report = diagnose(ours, theirs, recipe), compare(left, right)
    return Difference(tuple(_set_otherwise(actual, expected)), found, report, every)


def _set_otherwise(
    actual: DiskRecording, expected: DiskRecording
) -> Iterator[tuple[str, object, object]]:
    """The settings that both note, and note differently; one side's own framework is none."""
    ours, theirs = actual.configuration, expected.configuration
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name] != theirs[name]:
            yield name, ours[name], theirs[name]
