"""Every operation of a save and of a load fails: nothing that was safe is lost, nothing wrong."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from jaxgd.reliability.faulty_files import HOWS, Crash, FaultyFiles, How
from jaxgd.reliability.stored_things import THINGS, Thing, Wrong


class Outcome(NamedTuple):
    """What came of one trial, the `verdict`: right, refused, lost, wrong, crashed or hung."""

    thing: str
    what: str
    verdict: str
    told: str = ""


_REFUSALS = (OSError, ValueError)
_CRASH: How = "crash"
# Files in memory, where there are such: what a disk would lose is reckoned, not waited for.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def faults(
    things: Sequence[Thing] = THINGS, hows: Sequence[How] = HOWS, disks: int = 7
) -> Iterator[Outcome]:
    """Every operation of a save and of a load of the things fails, in each of those ways.

    And a crash ends a save before each operation, with that many disks that it may have left.
    """
    for thing in things:
        yield from _of_saves(thing, hows, disks)
        yield from _of_loads(thing, hows)


def found(thing: Thing, what: str, folder: Path, least: int, most: int) -> Outcome:
    """What is loaded where a number from `least` to `most` must be, or a refusal if least is 0."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged checkpoint that is passed over is told
            number = thing.load(folder)
    except Wrong as error:
        return Outcome(thing.name, what, "wrong", str(error))
    except _REFUSALS as error:
        return Outcome(thing.name, what, "lost" if least else "refused", str(error))
    except Exception as error:
        return Outcome(thing.name, what, "crashed", f"{type(error).__name__}: {error}")
    fits = least <= number <= most
    return Outcome(thing.name, what, "right" if fits else "lost", f"{number} of {least} to {most}")


def _of_saves(thing: Thing, hows: Sequence[How], disks: int) -> Iterator[Outcome]:
    """A save that fails at operation k, for every k; and one that a crash ends there."""
    operations = _count(thing)
    for at in range(operations + 1):
        for how in (*hows, _CRASH):
            what = f"{how} at operation {at} of a save"
            with TemporaryDirectory(dir=MEMORY) as place:
                folder, kept = Path(place) / "before", 0
                folder.mkdir()
                with FaultyFiles(folder, at, how) as files:
                    try:
                        for number in thing.save(folder):
                            kept = number
                    except (*_REFUSALS, Crash):
                        pass
                    except Exception as error:
                        yield Outcome(thing.name, what, "crashed", repr(error))
                if how != "crash":
                    yield found(thing, what, folder, kept, kept + 1)
                    continue
                for seed in range(disks):
                    disk = Path(place) / str(seed)
                    files.after_crash(disk, seed)
                    yield found(thing, f"{what}, disk {seed}", disk, kept, kept + 1)


def _of_loads(thing: Thing, hows: Sequence[How]) -> Iterator[Outcome]:
    """A load that fails at operation k, for every k: a refusal, or something that was saved."""
    with TemporaryDirectory(dir=MEMORY) as place:
        folder = Path(place)
        for _ in thing.save(folder):
            pass
        with FaultyFiles(folder) as files:
            thing.load(folder)
        for at in range(files.operations):
            for how in hows:
                with FaultyFiles(folder, at, how):
                    outcome = found(thing, f"{how} at operation {at} of a load", folder, 1, 3)
                yield outcome._replace(verdict=outcome.verdict.replace("lost", "refused"))


def _count(thing: Thing) -> int:
    """How many operations a save takes."""
    with TemporaryDirectory(dir=MEMORY) as place, FaultyFiles(Path(place)) as files:
        for _ in thing.save(Path(place)):
            pass
    return files.operations
