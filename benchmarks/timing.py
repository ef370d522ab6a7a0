"""One process a peer, all alive at once, timed in alternating rounds."""

import importlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.cases import Case
from benchmarks.environments import Environment
from benchmarks.peers import Peer

# A peer's turn, in seconds: its first run finds the caches as the peer before left them.
TURN = 0.05


@dataclass
class Timing:
    """What one peer took for one case, in the case's unit; `note` says why where it did not run."""

    peer: str
    case: Case
    jax: str
    costs: list[float] = field(default_factory=list)
    first_seconds: float = float("nan")
    peak_mb: float = float("nan")
    note: str = ""

    @property
    def least(self) -> float:
        return min(self.costs, default=float("nan"))

    @property
    def median(self) -> float:
        return statistics.median(self.costs) if self.costs else float("nan")


class Worker:
    """A peer in a process of its own, which answers one JSON line for each it is sent."""

    def __init__(self, peer: Peer, environment: Environment) -> None:
        self.peer, self.environment = peer, environment
        self.process = subprocess.Popen(
            [environment.python, "-m", "benchmarks.timing", peer.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return json.loads(answer) if answer else {"note": "its process died"}

    def close(self) -> None:
        self.process.communicate()


def compare(case: Case, workers: Iterable[Worker], rounds: int, seconds: float) -> list[Timing]:
    """Every worker's timing of the case: warmed up one by one, then timed in alternation.

    Rounds go on until there are `rounds` of them or they have taken `seconds`, two at least.
    """
    pairs = [(Timing(w.peer.name, case, w.environment.jax), w) for w in workers]
    for timing, worker in pairs:
        _record_first(timing, worker.ask({"prepare": asdict(case)}))
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 2 and time.perf_counter() - start > seconds:
            break
        for timing, worker in pairs:
            if not timing.note:
                answer = worker.ask({"run": 1})
                timing.costs.append(answer["seconds"] / answer["units"] * case.units_per_second)
                timing.peak_mb = answer["peak_mb"]
    return [timing for timing, _ in pairs]


def compare_first_calls(
    case: Case, entrants: list[tuple[Peer, Environment]], rounds: int
) -> list[Timing]:
    """Every peer's first call, compilation and all, each time in a fresh process."""
    timings = [Timing(peer.name, case, environment.jax) for peer, environment in entrants]
    for _ in range(rounds):
        for (peer, environment), timing in zip(entrants, timings, strict=True):
            worker = Worker(peer, environment)
            _record_first(timing, worker.ask({"prepare": asdict(case)}))
            worker.close()
            if not timing.note:
                timing.costs.append(timing.first_seconds)
    return timings


def _record_first(timing: Timing, answer: dict[str, Any]) -> None:
    timing.note = answer.get("note", "")
    timing.first_seconds = answer.get("seconds", float("nan"))
    timing.peak_mb = answer.get("peak_mb", float("nan"))


def _least(work: Callable[[], int], turn: float) -> tuple[float, int]:
    """The shortest of as many runs as begin within a turn, and the units of one."""
    times, began = [], time.perf_counter()
    while not times or time.perf_counter() - began < turn:
        start = time.perf_counter()
        units = work()
        times.append(time.perf_counter() - start)
    return min(times), units


def _serve(target: str) -> None:
    """The worker's side: build the work of a case, run it once, and again as often as asked."""
    module, name = target.split(":")
    answers = sys.stdout
    sys.stdout = sys.stderr
    work: Callable[[], int] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                prepare = getattr(importlib.import_module(module), name)
                work = prepare(Case(**request["prepare"]))
            assert work is not None
            seconds, units = _least(work, 0.0 if "prepare" in request else TURN)
            answer: dict[str, Any] = {"seconds": seconds, "units": units}
        except ImportError as error:
            answer = {"note": f"not installed: {error.name}"}
        except LookupError as error:
            answer = {"note": str(error)}
        except Exception as error:
            answer = {"note": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
