"""`jaxgd diff`: two recorded trainings, and where they part."""

from pathlib import Path

from jaxgd.equivalence.diagnosis.of_recordings import difference
from jaxgd.equivalence.recordings.on_disk import DiskRecording


def diff(actual: Path, expected: Path, /) -> None:
    """Say where two recorded trainings part: the update, the stage, the cause, the settings.

    The exit status is 1 when they part or nothing is proven.

    Args:
        actual: Folder of the recording in question.
        expected: Folder of the recording that it should equal.
    """
    found = difference(DiskRecording(actual), DiskRecording(expected))
    print(found)
    if not found.same:
        raise SystemExit(1)
