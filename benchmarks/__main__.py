"""`python -m benchmarks [groups] [--quick] [--versions] [--out FOLDER]`: time everybody.

With --versions each peer runs under the newest Python here as well, whose JAX is another. With
--accelerator it is the programs of docs/accelerators.md instead, on the device that JAX finds here.
"""

import argparse
from pathlib import Path

from benchmarks import environments, machine, plots, table
from benchmarks.cases import Case, all_cases
from benchmarks.depth import dependent_steps
from benchmarks.environments import Environment
from benchmarks.peers import PEERS, Peer
from benchmarks.timing import Timing, Worker, compare, compare_first_calls

GROUPS = ["sgd", "variants", "minibatch", "gd", "sweep", "table", "scaling", "depth"]

# Scaling curves are drawn for us and for the one peer that comes close.
SCALED = {"jaxgd", "scikit-learn SGDClassifier"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {GROUPS}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds")
    parser.add_argument("--versions", action="store_true", help="under the newest Python as well")
    parser.add_argument("--accelerator", action="store_true", help="measured beside its estimate")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=10.0, help="at most, for a case's rounds")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    options = parser.parse_args()
    groups = options.groups or GROUPS
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"groups are {GROUPS}; got {sorted(unknown)}")
    if options.quick:
        options.rounds, options.seconds = 2, 2.0
    if options.accelerator:
        from benchmarks.accelerators import here  # which needs jax: peers are other processes

        here.main(options.rounds)
        return
    options.out.mkdir(parents=True, exist_ok=True)

    pythons = [environments.this()]
    if options.versions and (newest := environments.newest(options.out)):
        pythons.append(newest)
    about = machine.describe() | {"JAX timed": ", ".join(e.jax for e in pythons)}
    timings: list[Timing] = []
    for group in groups:
        cases = [case for case in all_cases(options.quick) if case.group == group]
        timings += _run(cases, pythons, options)
    depth = dependent_steps() if "depth" in groups and not options.quick else []
    table.save(options.out, timings, about, depth)
    if {"scaling", "minibatch"} <= set(groups) and not options.quick:
        plots.save(options.out / "scaling.png", timings)
    print(f"Tables, JSON and plots in {options.out}")


def _run(
    cases: list[Case], pythons: list[Environment], options: argparse.Namespace
) -> list[Timing]:
    """The timings of one group's cases; a peer keeps its process for all of them."""
    workers: dict[tuple[str, str], Worker] = {}
    timings = []
    for case in cases:
        entrants = [(peer, e) for peer in _peers(case, options.quick) for e in pythons]
        if case.kind == "table":
            done = compare_first_calls(case, entrants, min(options.rounds, 3))
        else:
            for peer, python in entrants:
                if (peer.name, python.jax) not in workers:
                    workers[peer.name, python.jax] = Worker(peer, python)
            taking_part = [workers[peer.name, python.jax] for peer, python in entrants]
            done = compare(case, taking_part, options.rounds, options.seconds * len(pythons))
        print(table.section(done), flush=True)
        timings += done
    for worker in workers.values():
        worker.close()
    return timings


def _peers(case: Case, quick: bool) -> list[Peer]:
    """Those who do this kind of work; whoever compiles for long only at the usual batch size."""
    peers = [peer for peer in PEERS if case.kind in peer.kinds]
    if quick or case.batch not in (1, 32):
        peers = [peer for peer in peers if not peer.slow_start]
    return [peer for peer in peers if peer.name in SCALED] if case.group == "scaling" else peers


if __name__ == "__main__":
    main()
