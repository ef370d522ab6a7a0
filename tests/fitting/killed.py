"""Kills and other blows to a training: `python -m tests.fitting.killed KILLS`.

Kills one, -9 and SIGTERM, at random moments, in chains of five; then fills the disk under one,
makes its directory read-only, lets its clock jump, and starts two at once: each must end in the
bits of the uninterrupted run. The disk is a small tmpfs where one can be mounted (by root); where
not, that is said.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxgd.reliability.killed_training import finished, kills, start, strike
from jaxgd.storage import Checkpoints


@contextmanager
def small_disk(folder):
    """A tmpfs of 256 kB; CalledProcessError where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def wait_for_checkpoint(process, run):
    while process.poll() is None and not list(run.glob("checkpoint-*")):
        time.sleep(0.002)


def filled(place):
    """Its disk fills while it runs: it says so and stops; with room again it goes on."""
    with small_disk(place) as disk:
        with start(disk / "run") as process:
            wait_for_checkpoint(process, disk / "run")
            with suppress(OSError), (disk / "filler").open("wb") as filler:
                while True:
                    filler.write(bytes(4096))
                    filler.flush()
            error = process.communicate()[1]
        assert process.returncode != 0, error
        assert "No space left on device" in error, error
        (disk / "filler").unlink()
        return finished(disk / "run")


def read_only(place):
    """Its directory becomes one that nothing can be written in, not even by root, while it runs."""
    run = place / "run"
    with start(run) as process:
        wait_for_checkpoint(process, run)
        subprocess.run(["chattr", "+i", str(run)], check=True, capture_output=True)
        error = process.communicate()[1]
    subprocess.run(["chattr", "-i", str(run)], check=True)
    assert process.returncode != 0, error
    assert "not permitted" in error, error
    return finished(run)


def jumping_clock(place):
    """Its clock jumps by up to a year, either way, and it is killed once."""
    strike(place, random.Random(0), signal.SIGKILL, 3e7)
    return finished(place, 3e7)


def two_at_once(place):
    """The directory is held by this process: the other is told, and goes on when it is free."""
    with Checkpoints(place).held(), start(place) as process:
        error = process.communicate()[1]
    assert "is held by another" in error, error
    return finished(place)


BLOWS = (filled, read_only, jumping_clock, two_at_once)


def main(times):
    with TemporaryDirectory() as place:
        began, found = time.monotonic(), Counter()
        for outcome in kills(times):
            found[outcome.what, outcome.verdict] += 1
            if outcome.verdict != "right":
                print(outcome, flush=True)
        for (what, verdict), count in sorted(found.items()):
            print(f"{what}: {count} {verdict}")
        whole = finished(Path(place) / "whole")
        for blow in BLOWS:
            try:
                same = blow(Path(place) / blow.__name__) == whole
            except subprocess.CalledProcessError as error:
                print(f"{blow.__name__}: not possible here, {error.stderr}")
                continue
            print(f"{blow.__name__}: {'the same bits' if same else 'WRONG'}", flush=True)
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
