"""Training from the host: a loop around compiled segments that keeps a history."""

from typing import TYPE_CHECKING

from jaxgd.lazy_names import names_from

if TYPE_CHECKING:
    from jaxgd.fitting.divergence import Diverged as Diverged
    from jaxgd.fitting.history import Fit as Fit
    from jaxgd.fitting.history import History as History
    from jaxgd.fitting.history import Position as Position
    from jaxgd.fitting.history_file import jsonl as jsonl
    from jaxgd.fitting.interruption import Interrupted as Interrupted
    from jaxgd.fitting.loop import fit as fit
    from jaxgd.fitting.progress import Progressed as Progressed
    from jaxgd.fitting.progress import Stop as Stop

_HOMES = {
    "divergence": "Diverged",
    "history": "Fit History Position",
    "history_file": "jsonl",
    "interruption": "Interrupted",
    "loop": "fit",
    "progress": "Progressed Stop",
}

__getattr__, __dir__, __all__ = names_from(__name__, _HOMES)
