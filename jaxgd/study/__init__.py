"""What is learnt from many runs, and by differentiating through one."""

from jaxgd.study.bracket import Bracket
from jaxgd.study.curvature import Sharpness, sharpness
from jaxgd.study.descent_paths import DescentPath, stability
from jaxgd.study.ramp import Ramp
from jaxgd.study.rate_range import LearningRateRange, learning_rate_range
from jaxgd.study.surface import loss_surface
from jaxgd.study.thresholds import adam_preconditioner, largest_stable_rate

__all__ = [
    "Bracket",
    "DescentPath",
    "LearningRateRange",
    "Ramp",
    "Sharpness",
    "adam_preconditioner",
    "largest_stable_rate",
    "learning_rate_range",
    "loss_surface",
    "sharpness",
    "stability",
]
