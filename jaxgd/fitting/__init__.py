"""Training from the host: a loop around compiled segments that keeps a history."""

from jaxgd.fitting.history import Fit, History, Position
from jaxgd.fitting.interruption import Interrupted
from jaxgd.fitting.loop import fit
from jaxgd.fitting.progress import Progressed, Stop
from jaxgd.fitting.training import Diverged

__all__ = ["Diverged", "Fit", "History", "Interrupted", "Position", "Progressed", "Stop", "fit"]
