"""Proves that two trainings are the same, or shows where they part. NumPy only."""

from jaxgd.equivalence.assertion import NotEquivalent, assert_equivalent
from jaxgd.equivalence.comparison.calibration import Calibration, calibrate
from jaxgd.equivalence.comparison.leaf_by_leaf import compare
from jaxgd.equivalence.comparison.report import LeafReport, Report
from jaxgd.equivalence.comparison.tolerance import FixedTolerance, Tolerance
from jaxgd.equivalence.comparison.ulp import ulp_distance
from jaxgd.equivalence.diagnosis.stages import Diagnosis, diagnose
from jaxgd.equivalence.proof.induction import prove
from jaxgd.equivalence.proof.replay import lockstep
from jaxgd.equivalence.proof.verdict import Proof
from jaxgd.equivalence.recordings.configuration import Setting, set_otherwise
from jaxgd.equivalence.recordings.on_disk import DiskRecording
from jaxgd.equivalence.recordings.recorder import Recorder
from jaxgd.equivalence.recordings.update import Update
from jaxgd.equivalence.rule.recipe import Recipe

__all__ = [
    "Calibration",
    "Diagnosis",
    "DiskRecording",
    "FixedTolerance",
    "LeafReport",
    "NotEquivalent",
    "Proof",
    "Recipe",
    "Recorder",
    "Report",
    "Setting",
    "Tolerance",
    "Update",
    "assert_equivalent",
    "calibrate",
    "compare",
    "diagnose",
    "lockstep",
    "prove",
    "set_otherwise",
    "ulp_distance",
]
