"""`python -m benchmarks [groups] [--quick] [--out FOLDER]`: time everybody, write the tables."""

import argparse
from pathlib import Path

from benchmarks import machine, plots, table
from benchmarks.cases import Case, all_cases
from benchmarks.depth import dependent_steps
from benchmarks.peers import PEERS, Peer
from benchmarks.timing import Timing, compare

GROUPS = ["sgd", "minibatch", "gd", "sweep", "table", "scaling", "depth"]

# Scaling curves are drawn for us and for the one peer that comes close.
SCALED = {"jaxgd", "scikit-learn SGDClassifier"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {GROUPS}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes and two rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=10.0, help="at most, for a case's rounds")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    options = parser.parse_args()
    groups = options.groups or GROUPS
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"groups are {GROUPS}; got {sorted(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)

    about = machine.describe()
    timings: list[Timing] = []
    rounds, seconds = (2, 2.0) if options.quick else (options.rounds, options.seconds)
    for case in all_cases(options.quick):
        if case.group in groups:
            done = compare(case, _peers(case, options.quick), rounds, seconds)
            print(table.section(done), flush=True)
            timings += done
    depth = dependent_steps() if "depth" in groups and not options.quick else []
    table.save(options.out, timings, about, depth)
    if {"scaling", "minibatch"} <= set(groups) and not options.quick:
        plots.save(options.out / "scaling.png", timings)
    print(f"Tables, JSON and plots in {options.out}")


def _peers(case: Case, quick: bool) -> list[Peer]:
    peers = [p for p in PEERS if case.kind in p.kinds and not (quick and p.slow_start)]
    return [p for p in peers if p.name in SCALED] if case.group == "scaling" else peers


if __name__ == "__main__":
    main()
