"""`jaxgd diff`: two recorded trainings, and where they part."""

from pathlib import Path

from jaxgd.cli.settings import make_room, writable
from jaxgd.equivalence.diagnosis.of_recordings import Difference, difference
from jaxgd.equivalence.recordings.on_disk import DiskRecording
from jaxgd.figures.side_by_side import divergence_page
from jaxgd.storage.verified_file import write_atomically

_AMPLIFIED = (
    "The trainings are the same although a leaf strays beyond what is allowed: that is what the "
    "rounding of one update may do, and here the optimizer has amplified the rounding of earlier "
    "ones. Both sides' gradients agree in every update, and their steps follow from them; a leaf "
    "that the verdict names as not judged has no more than rounding for a gradient."
)


def diff(actual: Path, expected: Path, /, html: Path | None = None) -> None:
    """Say where two recorded trainings part: the update, the stage, the cause, the settings.

    Before the first update, only the configurations are compared. The exit status is 1 when the
    trainings part or nothing is proven.

    Args:
        actual: Folder of the recording in question.
        expected: Folder of the recording that it should equal.
        html: Also write a page to this file: one that opens offline.
    """
    sides = DiskRecording(actual), DiskRecording(expected)
    if html is not None:
        make_room(writable(html))
    found = difference(*sides)
    print(found)
    if html is not None:
        write_atomically(html, _page(found, *sides).encode())
        print(f"page: {html}")
    if not found.same:
        raise SystemExit(1)


def _page(found: Difference, actual: DiskRecording, expected: DiskRecording) -> str:
    leaves = found.report.leaves if found.report is not None else ()
    return divergence_page(
        title=f"{actual.folder.name} beside {expected.folder.name}",
        verdict=str(found),
        leaves={leaf.path: leaf.times_allowed.tolist() for leaf in leaves},
        configurations=(actual.configuration, expected.configuration),
        effects={setting.name: setting.effect for setting in found.settings},
        names=(actual.folder.name, expected.folder.name),
        beyond=_AMPLIFIED if found.same else "",
    )
