"""Trainings by several processes over loopback, started, disturbed and waited for."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.scale.host_training import DEVICES, Settings, main

ROOT = Path(__file__).parents[2]
TIMEOUT = 10  # what the processes are told
# They say more, and JAX gives those that join a few seconds more.
PATIENCE = 3 * TIMEOUT


class Process:
    """One of them, and what it has said."""

    def __init__(self, words, file, devices=1):
        self.file = file
        with file.open("w") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *words],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ
                | {
                    "PYTHONPATH": str(ROOT),
                    "JAX_PLATFORMS": "cpu",
                    "JAX_NUM_CPU_DEVICES": str(devices),
                    "JAX_COMPILATION_CACHE_DIR": str(_compiled()),
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
                },
            )

    def send(self, number):
        self.popen.send_signal(number)

    def cleared(self):
        """Gone, whatever it does."""
        self.send(signal.SIGCONT)
        self.popen.kill()
        self.popen.wait()

    def ends(self, seconds=300):
        """Its status; raises subprocess.TimeoutExpired where it does not end."""
        return self.popen.wait(seconds)

    @property
    def said(self):
        return self.file.read_text()

    @property
    def last_line(self):
        return self.said.strip().splitlines()[-1]


@cache
def _compiled():
    """A directory for compiled programs until this process ends: the next start is sooner."""
    place = TemporaryDirectory()
    atexit.register(place.cleanup)
    return Path(place.name)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def trainings(folder, count, missing=(), **settings):
    """So many processes that train together in a folder, but for those that are missing."""
    folder.mkdir(exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    given = {"timeout": TIMEOUT, **settings}
    words = [f"{name}={value}" for name, value in given.items()]
    program = ["-m", "tests.scale.host_training", str(folder / "run"), address, str(count)]
    started = [
        Process([*program, str(i), *words], folder / f"process{i}.txt")
        for i in range(count)
        if i not in missing
    ]
    try:
        yield started
    finally:
        for process in started:
            process.cleared()


def at_work(folder, processes):
    """Wait for the first checkpoint."""
    while not list((folder / "run").glob("checkpoint-*.safetensors")):
        assert all(process.popen.poll() is None for process in processes), processes[0].said
        time.sleep(0.05)


def alone(folder, **settings):
    """The hash that this process ends with, by one device, going on from what is there."""
    return main(folder / "run", Settings(**settings), 0, 0).split()[0]


def hash_in(process):
    return process.last_line.split()[2]


__all__ = ["DEVICES", "PATIENCE", "TIMEOUT", "alone", "at_work", "hash_in", "trainings"]
