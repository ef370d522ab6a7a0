"""What is learnt from many runs, and by differentiating through one."""

from jaxgd.study.hypergradients import Hypergradient, hypergradient
from jaxgd.study.influences import Influence, influence
from jaxgd.study.levels import scan_in_levels
from jaxgd.study.trainings import trained
from jaxgd.study.weights import weighted_mean

__all__ = [
    "Hypergradient",
    "Influence",
    "hypergradient",
    "influence",
    "scan_in_levels",
    "trained",
    "weighted_mean",
]
