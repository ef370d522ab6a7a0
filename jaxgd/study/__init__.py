"""What is learnt from many runs, from the gradients of many rows, and by differentiating a run."""

from jaxgd.study.batch_scatter import scatter_of_batches
from jaxgd.study.bracket import Bracket
from jaxgd.study.critical_size import CriticalSize, critical_batch_size
from jaxgd.study.curvature import Sharpness, sharpness
from jaxgd.study.descent_paths import DescentPath, stability
from jaxgd.study.dual_norm import DualNoise, dual_noise_scale
from jaxgd.study.estimates import Estimate
from jaxgd.study.groups import Shared
from jaxgd.study.halving import Halving, Rung, successive_halving
from jaxgd.study.hypergradients import Hypergradient, hypergradient
from jaxgd.study.influences import Influence, influence
from jaxgd.study.labelled import Labelled
from jaxgd.study.levels import scan_in_levels
from jaxgd.study.noise_scale import GradientNoise, OfRows, batch_variance, gradient_noise
from jaxgd.study.preconditioning import preconditioner
from jaxgd.study.progress import Advanced
from jaxgd.study.ramp import Ramp
from jaxgd.study.rate_range import LearningRateRange, learning_rate_range
from jaxgd.study.settings import Settings
from jaxgd.study.smoothness import Smoothness
from jaxgd.study.surface import loss_surface
from jaxgd.study.sweeps import Best, Sweep, sweep
from jaxgd.study.thresholds import adam_preconditioner, largest_stable_rate
from jaxgd.study.trainings import trained
from jaxgd.study.two_sizes import NoiseDuring, TwoSizes, measured_step, noise_during
from jaxgd.study.verdict import Prediction, prediction
from jaxgd.study.weights import weighted_mean

__all__ = [
    "Advanced",
    "Best",
    "Bracket",
    "CriticalSize",
    "DescentPath",
    "DualNoise",
    "Estimate",
    "GradientNoise",
    "Halving",
    "Hypergradient",
    "Influence",
    "Labelled",
    "LearningRateRange",
    "NoiseDuring",
    "OfRows",
    "Prediction",
    "Ramp",
    "Rung",
    "Settings",
    "Shared",
    "Sharpness",
    "Smoothness",
    "Sweep",
    "TwoSizes",
    "adam_preconditioner",
    "batch_variance",
    "critical_batch_size",
    "dual_noise_scale",
    "gradient_noise",
    "hypergradient",
    "influence",
    "largest_stable_rate",
    "learning_rate_range",
    "loss_surface",
    "measured_step",
    "noise_during",
    "preconditioner",
    "prediction",
    "scan_in_levels",
    "scatter_of_batches",
    "sharpness",
    "stability",
    "successive_halving",
    "sweep",
    "trained",
    "weighted_mean",
]
