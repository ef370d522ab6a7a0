"""`jaxgd diff`: two recorded trainings, and where they part."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxgd.cli.settings import check_replaces_nothing, make_room, writable

if TYPE_CHECKING:
    import jaxgd.equivalence.diagnosis.of_recordings
    import jaxgd.equivalence.recordings.on_disk

_AMPLIFIED = (
    "The trainings are the same although a leaf strays beyond what is allowed: that is what the "
    "rounding of one update may do, and here the optimizer has amplified the rounding of earlier "
    "ones. Both sides' gradients agree in every update, and their steps follow from them; a leaf "
    "that the verdict names as not judged has no more than rounding for a gradient."
)


def diff(actual: Path, expected: Path, /, html: Path | None = None, force: bool = False) -> None:
    """Say where two recorded trainings part: the update, the stage, the cause, the settings.

    Before the first update, only the configurations are compared. The exit status is 1 when the
    trainings part or nothing is proven.

    Args:
        actual: Folder of the recording in question.
        expected: Folder of the recording that it should equal.
        html: Also write a page to this file: one that opens offline.
        force: Replace a file that is there.
    """
    for folder in (actual, expected):
        folder.stat()  # a missing one is told before anything is imported
    if html is not None:
        check_replaces_nothing(writable(html), "--html", force)

    from jaxgd.equivalence.diagnosis.of_recordings import difference
    from jaxgd.equivalence.recordings.on_disk import DiskRecording
    from jaxgd.storage.verified_file import write_atomically

    sides = DiskRecording(actual), DiskRecording(expected)
    if html is not None:
        make_room(html)
    found = difference(*sides)
    print(found)
    if html is not None:
        write_atomically(html, _page(found, *sides).encode())
        print(f"page: {html}")
    if not found.same:
        raise SystemExit(1)


def _page(
    found: "jaxgd.equivalence.diagnosis.of_recordings.Difference",
    actual: "jaxgd.equivalence.recordings.on_disk.DiskRecording",
    expected: "jaxgd.equivalence.recordings.on_disk.DiskRecording",
) -> str:
    from jaxgd.figures.side_by_side import divergence_page

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
