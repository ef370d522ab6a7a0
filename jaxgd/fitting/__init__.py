"""Training from the host: a loop around compiled segments that keeps a history."""

from jaxgd.fitting.history import Fit, History, Position
from jaxgd.fitting.loop import Diverged, fit
from jaxgd.fitting.progress import Progressed, Stop

__all__ = ["Diverged", "Fit", "History", "Position", "Progressed", "Stop", "fit"]
