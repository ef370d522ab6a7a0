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


def undisturbed_after(folder, epochs):
    return alone(folder / "undisturbed", epochs=epochs)


def told(process):
    """The last words, in whatever line: a traceback or JAX's own report stands above it."""
    return process.said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("struck", "number"),
    [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGSTOP)],
    ids=["killed worker", "killed coordinator", "stopped worker", "stopped coordinator"],
)
def test_one_that_is_gone_ends_the_others(tmp_path, struck, number):
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
    assert alone(tmp_path, epochs=reached) == undisturbed_after(tmp_path, reached)


def test_a_run_that_lost_a_worker_goes_on_with_four(tmp_path):
    with trainings(tmp_path, 2, **LONG) as processes:
        at_work(tmp_path, processes)
        processes[1].send(signal.SIGKILL)
        assert processes[0].ends(PATIENCE) == 1
    again = {"epochs": 8, "ordered": 1}
    with trainings(tmp_path, 4, **again) as processes:
        assert [process.ends() for process in processes] == [0] * 4
        ends = {hash_in(process) for process in processes}
    assert ends == {undisturbed_after(tmp_path, 8)}


@pytest.mark.parametrize("missing", [0, 1])
def test_one_that_never_joins(tmp_path, missing):
    with trainings(tmp_path, 2, missing=[missing]) as processes:
        began = time.monotonic()
        assert processes[0].ends(PATIENCE) == 1
        print(f"ended after {time.monotonic() - began:.1f} s: {told(processes[0])}")
    assert "all 2 processes must join within 10 s; not all did" in told(processes[0])


def test_an_error_in_one_ends_the_others(tmp_path):
    with trainings(tmp_path, 2, fails=1, epochs=EPOCHS) as processes:
        assert [process.ends() for process in processes] == [1, 1]
        assert told(processes[1]) == "ValueError: this callback fails"
        assert told(processes[0]).endswith(
            "process 1 has stopped with an error, which it tells itself"
        )
    assert [*(tmp_path / "run").glob("checkpoint-*")]  # what was done until then
