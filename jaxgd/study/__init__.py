"""What is learnt from many runs, and by differentiating through one."""

from jaxgd.study.bracket import Bracket
from jaxgd.study.curvature import Sharpness, sharpness
from jaxgd.study.descent_paths import DescentPath, stability
from jaxgd.study.hypergradients import Hypergradient, hypergradient
from jaxgd.study.influences import Influence, influence
from jaxgd.study.levels import scan_in_levels
from jaxgd.study.ramp import Ramp
from jaxgd.study.rate_range import LearningRateRange, learning_rate_range
from jaxgd.study.surface import loss_surface
from jaxgd.study.thresholds import adam_preconditioner, largest_stable_rate
from jaxgd.study.trainings import trained
from jaxgd.study.weights import weighted_mean

__all__ = [
    "Bracket",
    "DescentPath",
    "Hypergradient",
    "Influence",
    "LearningRateRange",
    "Ramp",
    "Sharpness",
    "adam_preconditioner",
    "hypergradient",
    "influence",
    "largest_stable_rate",
    "learning_rate_range",
    "loss_surface",
    "scan_in_levels",
    "sharpness",
    "stability",
    "trained",
    "weighted_mean",
]
