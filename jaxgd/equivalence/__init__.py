"""Proves that two trainings are the same, or shows where they part. NumPy only."""

from jaxgd.equivalence.calibration import Calibration, calibrate
from jaxgd.equivalence.comparison import NotEquivalent, assert_equivalent, compare
from jaxgd.equivalence.diagnosis import Diagnosis, diagnose
from jaxgd.equivalence.recipe import Recipe
from jaxgd.equivalence.replay import lockstep
from jaxgd.equivalence.report import LeafReport, Report
from jaxgd.equivalence.tolerance import FixedTolerance, Tolerance
from jaxgd.equivalence.ulp import ulp_distance
from jaxgd.equivalence.update import Update

__all__ = [
    "Calibration",
    "Diagnosis",
    "FixedTolerance",
    "LeafReport",
    "NotEquivalent",
    "Recipe",
    "Report",
    "Tolerance",
    "Update",
    "assert_equivalent",
    "calibrate",
    "compare",
    "diagnose",
    "lockstep",
    "ulp_distance",
]
