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
    shuffled: bool = True
    on_oldest: bool = False


SKLEARN, LOADER = "scikit-learn SGDClassifier", "torch, eager with DataLoader"
BY_HAND, KERAS = "torch, by hand without autograd", "Keras on JAX"
FITS = "jaxgd.fit, 200 times"

TARGETS = [
    *(
        Target("sgd", d, 1, SKLEARN, ratio, shuffled)
        for d, ratio in ((10, 2), (30, 2), (100, 3), (256, 4), (784, 4.5))
        for shuffled in (False, True)
    ),
    Target("sgd", 100, 1, SKLEARN, 2, on_oldest=True),
    *(Target("minibatch", 784, b, "limit: one read of the rows", 1 / 1.5) for b in (8, 32, 256)),
    *(Target("sgd", d, 1, LOADER, r) for d, r in ((10, 500), (30, 500), (784, 150))),
    *(Target("minibatch", d, 32, LOADER, r) for d, r in ((30, 40), (784, 20))),
    *(Target("minibatch", d, 32, BY_HAND, r) for d, r in ((30, 5), (784, 4))),
    *(Target("minibatch", d, 32, KERAS, r) for d, r in ((30, 10), (784, 4))),
    Target("gd", 784, 1, BY_HAND, 2),
    Target("gd", 784, 1, "limit: one read of the rows", 0.8),
    *(Target(kind, 30, b, FITS, 20) for kind, b in (("sweep", 32), ("grid", 1))),
    Target("sweep", 30, 32, "jaxgd, 200 single runs", 20),
    Target("table", 30, 1, "torch, eager without DataLoader", 1),
]


def reached(timings: Sequence[Timing]) -> list[dict[str, str]]:
    """For each target that was timed, the ratio of least costs on the largest case of its kind.

    With the newest JAX that both were timed with, or the oldest where the target is of that.
    """
    rows = []
    for target in TARGETS:
        of_both = _of_both(target, timings)
        if of_both:
            n = max(n for n, _ in of_both)
            versions = sorted((jax for m, jax in of_both if m == n), key=_number)
            jax = versions[0 if target.on_oldest else -1]
            ours, theirs = of_both[n, jax]
            order = "" if target.shuffled else ", as they lie"
            rows.append(
                {
                    "work": f"{target.kind} d={target.d} b={target.batch} n={n}{order}",
                    "jax": jax,
                    "against": target.peer,
                    "at least": f"{target.ratio:.3g}×",
                    "measured": f"{theirs / ours:.3g}×",
                    "reached": "yes" if theirs / ours >= target.ratio else "no",
                }
            )
    return rows


def _of_both(
    target: Target, timings: Sequence[Timing]
) -> dict[tuple[int, str], tuple[float, float]]:
    """By rows and JAX, the least cost of jaxgd and of the target's peer."""
    least = {
        (t.case.n, t.jax, t.peer): t.least
        for t in timings
        if t.costs
        and t.case.group != "scaling"
        and (t.case.kind, t.case.d, t.case.batch) == (target.kind, target.d, target.batch)
        and t.case.shuffled == target.shuffled
    }
    return {
        (n, jax): (ours, least[n, jax, target.peer])
        for (n, jax, peer), ours in least.items()
        if peer == "jaxgd" and (n, jax, target.peer) in least
    }


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
