"""`python -m benchmarks.against FOLDER [cases]`: this checkout's times over those of another one.

Each checkout has a process of its own, in its own folder; both compile a case and then take turns.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import all_cases

# Runs in either checkout, which need not know of this file.
SERVE = """
import sys, time
from benchmarks.cases import all_cases
from benchmarks.peers import ours
cases = {case.group + ": " + case.name: case for case in all_cases(False)}
work = None
for line in sys.stdin:
    name, general = line.rstrip().split("|")
    if name:
        work = (ours.general_sgd if general else ours.run)(cases[name])
        work()
    start = time.perf_counter()
    work()
    print(time.perf_counter() - start, flush=True)
"""


class Checkout:
    """A process that works in one checkout, when told to."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, command: str = "|") -> float:
        """How long the work took: of the case in the command, or of the last one again."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__)
    parser.add_argument("folder", type=Path, help="the other checkout")
    parser.add_argument("cases", nargs="*", help="parts of names; all cases by default")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    ours, theirs = Checkout(Path.cwd()), Checkout(options.folder)
    names = [f"{case.group}: {case.name}|" for case in all_cases(False)]
    names += [f"{name}general" for name in names if name.startswith("sgd: sgd")]
    print("| case | this, ms | other, ms | ratio |\n|---|---:|---:|---:|")
    for name in dict.fromkeys(names):
        if options.cases and not any(part in name for part in options.cases):
            continue
        both = [[], []]
        for command in [name] + ["|"] * options.rounds:
            for times, checkout in zip(both, (ours, theirs), strict=True):
                times.append(checkout.seconds(command))
        least = [min(times) * 1e3 for times in both]
        label = name.replace("|general", ", through `sgd`").replace("|", "")
        print(f"| {label} | {least[0]:.3f} | {least[1]:.3f} | {least[0] / least[1]:.2f} |")


if __name__ == "__main__":
    main()
