"""The assertion of tests: two trainings are the same, or an error says where they part."""

from typing import Any, overload

from jaxgd.equivalence.comparison.leaf_by_leaf import RESOLVES, compare
from jaxgd.equivalence.comparison.report import Report
from jaxgd.equivalence.comparison.tolerance import Tolerance
from jaxgd.equivalence.proof.induction import prove
from jaxgd.equivalence.proof.verdict import Proof


class NotEquivalent(AssertionError):
    """Two trainings part, or nothing is proven; `report` says which, and is the message."""

    def __init__(self, report: Report | Proof) -> None:
        super().__init__(str(report))
        self.report = report


@overload
def assert_equivalent(
    actual: object,
    expected: object,
    tolerance: float | Tolerance | None = None,
    *,
    until: int | None = None,
    resolves: float = RESOLVES,
) -> Report: ...


@overload
def assert_equivalent(*, step: Any, expected: Any, reference: Any, **proof: Any) -> Proof: ...


def assert_equivalent(
    actual: Any = None,
    expected: Any = None,
    tolerance: float | Tolerance | None = None,
    *,
    step: Any = None,
    until: int | None = None,
    resolves: float = RESOLVES,
    **proof: Any,
) -> Report | Proof:
    """The report of two trainings that are the same; NotEquivalent, an AssertionError, if not.

    Given a step of the actual side, it is a proof by induction, and the arguments are those of
    `prove`:

        assert_equivalent(step=…, expected=…, reference=…, recipe=…, start=…)

    Given two trajectories that have run freely, it is their comparison, and the arguments are those
    of `compare`. Freely, rounding goes on and may grow: an honest pair in float32 may part, where a
    number crosses a kink (ReLU, max), where gradients are rounding alone (a bias before BatchNorm)
    and Adam makes full steps of them, or where the run is chaotic (`calibrate` recognises that).
    A proof by induction is free of all this.

    Fails when the runs part, and also when nothing is proven: when nothing moves, when both runs
    are NaN, or when rounding may hide more than `resolves`. In a comparison (FixedTolerance) a
    fault that shifts every leaf by `resolves` of its way never passes, such as a learning rate off
    by that much before the run converges. One off by 1e-4 does not where `Report.resolution` falls
    below that: in float64, and in float32 if the leaves move by 7% of their scale within 10
    updates, or by 9% within 200. Other errors: `compare`, `prove`.
    """
    report: Report | Proof
    if step is not None:
        if actual is not None or tolerance is not None or until is not None:
            raise ValueError(
                "A proof takes a step in the place of a trajectory, a tolerance and an end; got "
                "both. Give step, expected, reference, recipe and start."
            )
        report = prove(step, expected, resolves=resolves, **proof)
    elif proof:
        raise ValueError(
            f"{', '.join(proof)} belong to a proof, which takes a step; got none. Give step=…, or "
            "two trajectories alone."
        )
    else:
        report = compare(actual, expected, tolerance, until=until, resolves=resolves)
    if report.verdict != "equivalent":
        raise NotEquivalent(report)
    return report
