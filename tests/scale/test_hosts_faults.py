"""What ends one of several processes ends all, in time and with a reason, and nothing is lost."""

import signal
import time

import pytest

from tests.scale.hosts import PATIENCE, alone, at_work, hash_in, trainings

pytestmark = pytest.mark.hosts
EPOCHS = 200
LONG = {"epochs": EPOCHS, "pause": 0.3}
GONE = "another is gone or has not answered for 10 s"
REMEDY = "Start all of them again, with resume=True to go on from the newest checkpoint."


def told(process):
    """The last words, in whatever line: a traceback or JAX's own report stands above it."""
    return process.said.strip().splitlines()[-1]


@pytest.mark.parametrize("struck", [0, 1], ids=["coordinator", "worker"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_one_that_is_gone_ends_the_other_and_nothing_is_lost(tmp_path, struck, number):
    with trainings(tmp_path, 2, **LONG) as processes:
        at_work(tmp_path, processes)
        processes[struck].send(number)
        began = time.monotonic()
        assert processes[1 - struck].ends(PATIENCE) == 1
        print(f"ended after {time.monotonic() - began:.1f} s: {told(processes[1 - struck])}")
        assert GONE in told(processes[1 - struck])
        assert REMEDY in told(processes[1 - struck])
        if number == signal.SIGSTOP:
            processes[struck].send(signal.SIGCONT)
            assert processes[struck].ends(PATIENCE) == 1
            assert GONE in told(processes[struck])
    reached = 12
    assert goes_on(tmp_path, reached, 4 if (struck, number) == (1, signal.SIGKILL) else 0) == {
        alone(tmp_path / "undisturbed", epochs=reached)
    }


def goes_on(folder, epochs, count):
    """The hashes that so many processes, or this one alone, end with from what is there."""
    if not count:
        return {alone(folder, epochs=epochs)}
    with trainings(folder, count, epochs=epochs) as processes:
        assert [process.ends() for process in processes] == [0] * count
        return {hash_in(process) for process in processes}


def test_one_that_never_joins(tmp_path):
    """A worker and, of another training, the coordinator: JAX adds a few seconds to the time."""
    began = time.monotonic()
    with (
        trainings(tmp_path / "worker", 2, missing=[1], timeout=5) as [first],
        trainings(tmp_path / "coordinator", 2, missing=[0], timeout=5) as [second],
    ):
        for process in (first, second):
            assert process.ends(PATIENCE) == 1
            print(f"ended after {time.monotonic() - began:.1f} s: {told(process)}")
            assert "all 2 processes must join within 5 s; not all did" in told(process)


def test_an_error_in_one_ends_the_others(tmp_path):
    with trainings(tmp_path, 2, fails=1, epochs=EPOCHS) as processes:
        assert [process.ends() for process in processes] == [1, 1]
        assert told(processes[1]) == "ValueError: this callback fails"
        assert told(processes[0]).endswith(
            "process 1 has stopped with an error, which it tells itself"
        )
    assert [*(tmp_path / "run").glob("checkpoint-*")]  # what was done until then
