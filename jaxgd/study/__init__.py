"""What is learnt from many runs, or from the gradients of many rows."""

from jaxgd.study.batch_scatter import scatter_of_batches
from jaxgd.study.critical_size import critical_batch_size
from jaxgd.study.dual_norm import dual_noise_scale
from jaxgd.study.noise_scale import batch_variance, gradient_noise
from jaxgd.study.preconditioning import preconditioner
from jaxgd.study.two_sizes import measured_step, noise_during
from jaxgd.study.verdict import prediction

__all__ = [
    "batch_variance",
    "critical_batch_size",
    "dual_noise_scale",
    "gradient_noise",
    "measured_step",
    "noise_during",
    "preconditioner",
    "prediction",
    "scatter_of_batches",
]
