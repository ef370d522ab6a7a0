"""What is learnt from many runs: which learning rate, which batch size, and what they are worth."""

from jaxgd.study.halving import Halving, Rung, successive_halving
from jaxgd.study.labelled import Labelled
from jaxgd.study.progress import Advanced
from jaxgd.study.sweeps import Best, Sweep, sweep

__all__ = [
    "Advanced",
    "Best",
    "Halving",
    "Labelled",
    "Rung",
    "Sweep",
    "successive_halving",
    "sweep",
]
