"""The proof as a few figures: what was tried, how often, and what came of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jaxgd.reliability.damaged_files import damages
from jaxgd.reliability.failing_operations import Outcome, faults
from jaxgd.reliability.killed_training import kills
from jaxgd.reliability.random_tables import tables

_BAD = ("lost", "wrong", "crashed", "hung")


@dataclass
class Figure:
    """How often something was tried, how often it came out which way, and the first bad outcome."""

    tried: str
    verdicts: Counter[str] = field(default_factory=Counter)
    first_bad: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.verdicts[outcome.verdict] += 1
        if outcome.verdict in _BAD and self.first_bad is None:
            self.first_bad = outcome

    @property
    def passed(self) -> bool:
        """Whether it was tried, and nothing was lost, wrong, crashed or hung."""
        return bool(self.verdicts) and self.first_bad is None


def figures(kill: int, damage: int, table: int) -> Iterator[Figure]:
    """The figures of a whole proof on this machine, each when it is there.

    Every operation of every save and load fails once; and so many kills, damaged files and tables.
    """
    trials: dict[str, Iterable[Outcome]] = {
        "file faults": faults(),
        "damaged files": damages(damage),
        "tables": tables(table),
        "kills": kills(kill),
    }
    for tried, outcomes in trials.items():
        figure = Figure(tried)
        for outcome in outcomes:
            figure.add(outcome)
        yield figure
