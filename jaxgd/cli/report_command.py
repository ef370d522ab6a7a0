"""`jaxgd report`: some runs side by side in one page."""

from pathlib import Path

from jaxgd.cli.run_files import CONFIG, REPORT
from jaxgd.cli.settings import check_replaces_nothing, make_room, writable


def report(
    runs: tuple[Path, ...],
    /,
    *,
    out: Path = Path("report.html"),
    force: bool = False,
) -> None:
    """Compare runs in one page that opens offline: settings that differ, measures, curves.

    A single run has a page of its own in its directory.

    Args:
        runs: Directories that `jaxgd fit --run` wrote, two or more.
        out: Where the page goes.
        force: Replace a file that is there.
    """
    if len(runs) < 2:
        told = f"; got {runs[0]}, whose own page is {runs[0] / REPORT}" if runs else ""
        raise ValueError(f"a comparison is of two runs or more{told}. Name their directories.")
    check_replaces_nothing(writable(out), "--out", force)
    for run in runs:
        (run / CONFIG).open("rb").close()  # told before anything is imported

    from jaxgd.cli.page_of_runs import runs_page
    from jaxgd.cli.run_directory import read_run
    from jaxgd.cli.terminal import console
    from jaxgd.storage.verified_file import write_atomically

    found = [read_run(run) for run in runs]
    make_room(out)
    write_atomically(out, runs_page(found).encode())
    console().print(f"page of {len(runs)} runs: {out}", soft_wrap=True)
