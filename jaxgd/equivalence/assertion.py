"""The assertion of tests: two runs are the same training, or an error says where they part."""

from jaxgd.equivalence.comparison.leaf_by_leaf import RESOLVES, compare
from jaxgd.equivalence.comparison.report import Report
from jaxgd.equivalence.comparison.tolerance import Tolerance


class NotEquivalent(AssertionError):
    """Two runs part, or prove nothing; `report` says which, and is the message."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def assert_equivalent(
    actual: object,
    expected: object,
    tolerance: float | Tolerance | None = None,
    *,
    until: int | None = None,
    resolves: float = RESOLVES,
) -> Report:
    """The report of two equivalent runs; NotEquivalent, an AssertionError, if they are not.

    Fails when the runs part, and also when the comparison proves nothing: when nothing moves, when
    both runs are NaN, or when rounding may hide more than `resolves` (`Report.verdict`). By
    default (FixedTolerance) an honest pair in float32 or float64 that moves so far passes. A fault
    that shifts every leaf by `resolves` of its way never does, such as a learning rate off by that
    much before the run converges. One off by 1e-4 does not where `Report.resolution` falls below
    that: in float64, and in float32 if the leaves move by 7% of their scale within 10 updates, or
    by 9% within 200. What rounding can do to an honest pair in float32, but hardly ever in float64:
    it grows exponentially in a chaotic run (`calibrate` recognises that), and it decides on which
    side of a kink (ReLU, max) a number falls. Arguments and other errors: `compare`.
    """
    report = compare(actual, expected, tolerance, until=until, resolves=resolves)
    if report.verdict != "equivalent":
        raise NotEquivalent(report)
    return report
