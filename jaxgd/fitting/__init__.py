"""Training from the host: a loop around compiled segments that keeps a history."""

from jaxgd.fitting.divergence import Diverged
from jaxgd.fitting.history import Fit, History, Position
from jaxgd.fitting.history_file import jsonl
from jaxgd.fitting.interruption import Interrupted
from jaxgd.fitting.loop import fit
from jaxgd.fitting.progress import Progressed, Stop

__all__ = [
    "Diverged",
    "Fit",
    "History",
    "Interrupted",
    "Position",
    "Progressed",
    "Stop",
    "fit",
    "jsonl",
]
