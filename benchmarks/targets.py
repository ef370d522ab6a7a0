"""How far ahead of whom we mean to be, and how far we are."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.timing import Timing


@dataclass(frozen=True)
class Target:
    """At least `ratio` times as fast as a peer, on cases of one kind, width and batch size."""

    kind: str
    d: int
    batch: int
    peer: str
    ratio: float


SKLEARN, LOADER = "scikit-learn SGDClassifier", "torch, eager with DataLoader"
BY_HAND, KERAS = "torch, by hand without autograd", "Keras on JAX"

TARGETS = [
    *(Target("sgd", d, 1, SKLEARN, 1.5) for d in (10, 30, 100, 784)),
    *(Target("sgd", d, 1, LOADER, r) for d, r in ((10, 500), (30, 500), (784, 150))),
    *(Target("minibatch", d, 32, LOADER, r) for d, r in ((30, 40), (784, 20))),
    *(Target("minibatch", d, 32, BY_HAND, r) for d, r in ((30, 5), (784, 4))),
    *(Target("minibatch", d, 32, KERAS, r) for d, r in ((30, 10), (784, 4))),
    Target("gd", 784, 1, BY_HAND, 2),
    Target("gd", 784, 1, "limit: one read of the rows", 0.8),
    Target("sweep", 30, 32, "jaxgd, 200 single runs", 10),
    Target("table", 30, 1, "torch, eager without DataLoader", 1),
]


def reached(timings: Sequence[Timing]) -> list[dict[str, str]]:
    """For each target that was timed, the ratio of least costs on the largest case of its kind."""
    rows = []
    for target in TARGETS:
        least = {
            (t.case.n, t.peer): t.least
            for t in timings
            if t.costs
            and t.case.group != "scaling"
            and (t.case.kind, t.case.d, t.case.batch) == (target.kind, target.d, target.batch)
        }
        n = max((n for n, peer in least if peer == target.peer), default=0)
        if (n, "jaxgd") in least and n:
            ratio = least[n, target.peer] / least[n, "jaxgd"]
            rows.append(
                {
                    "work": f"{target.kind} d={target.d} b={target.batch} n={n}",
                    "against": target.peer,
                    "at least": f"{target.ratio:g}×",
                    "measured": f"{ratio:.3g}×",
                    "reached": "yes" if ratio >= target.ratio else "no",
                }
            )
    return rows
