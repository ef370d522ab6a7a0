"""A training that is killed again and again at random moments, and what it ends with."""

import atexit
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxgd.reliability.failing_operations import Outcome

_THING = "a training"
CHAIN = 5  # kills within one run, at most


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """The training in a process of its own, with this process's jaxgd.

    What it compiles is kept until this process ends, so that the next start is sooner at work.
    """
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxgd.reliability.training", str(folder), *map(str, arguments)],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "JAX_COMPILATION_CACHE_DIR": str(_compiled()),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path, *arguments: object) -> str:
    """The hash that it ends with, undisturbed; RuntimeError with what it said if it fails."""
    with start(folder, *arguments) as process:
        out, error = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(error)
    return out.strip()


def strike(folder: Path, chance: random.Random, number: int, *arguments: object) -> bool:
    """Start it, and send it a signal at a random moment; False if it was through before.

    Mostly that is soon after a checkpoint, when the next is being written, now and then while it
    begins.
    """
    with start(folder, *arguments) as process:
        before = _checkpoints(folder)
        until = time.monotonic() + (chance.uniform(0, 3) if chance.random() < 0.2 else 600)
        while process.poll() is None and _checkpoints(folder) == before:
            if time.monotonic() > until:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        if process.poll() is not None:
            return False
        process.send_signal(number)
        process.communicate()
    return True


def kills(count: int, seed: int = 0) -> Iterator[Outcome]:
    """What so many kills come to, kill -9 and now and then SIGTERM, up to five in one run.

    One outcome for each kill: the verdict of the run that it struck.
    """
    chance = random.Random(seed)
    with TemporaryDirectory() as place:
        whole = finished(Path(place) / "whole")
        run = 0
        while count > 0:
            folder, run, struck = Path(place) / f"run{run}", run + 1, []
            for _ in range(min(CHAIN, count)):
                number = signal.SIGKILL if chance.random() < 0.8 else signal.SIGTERM
                if not strike(folder, chance, number):
                    break
                struck.append(signal.Signals(number).name)
            yield from _verdicts(folder, whole, struck)
            count -= max(1, len(struck))  # one that is through before is not tried for ever


def _verdicts(folder: Path, whole: str, struck: list[str]) -> Iterator[Outcome]:
    try:
        found = finished(folder)
    except RuntimeError as error:
        verdict, told = "lost", str(error)
    else:
        verdict, told = ("right" if found == whole else "wrong"), found
    for name in struck or ([] if verdict == "right" else ["not struck"]):
        yield Outcome(_THING, name, verdict, told)


@cache
def _compiled() -> Path:
    """A directory for compiled programs, until this process ends."""
    place = TemporaryDirectory()
    atexit.register(place.cleanup)
    return Path(place.name)


def _checkpoints(folder: Path) -> set[Path]:
    return set(folder.glob("checkpoint-*"))
