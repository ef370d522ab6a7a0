"""Trees of arrays on disk; nothing here knows of descents."""

from typing import TYPE_CHECKING

from jaxgd.lazy_names import names_from

if TYPE_CHECKING:
    from jaxgd.storage.background import Background as Background
    from jaxgd.storage.checkpoints import Checkpoints as Checkpoints
    from jaxgd.storage.trees import Stored as Stored
    from jaxgd.storage.trees import load as load
    from jaxgd.storage.trees import read as read
    from jaxgd.storage.trees import save as save

_HOMES = {
    "background": "Background",
    "checkpoints": "Checkpoints",
    "trees": "Stored load read save",
}

__getattr__, __dir__, __all__ = names_from(__name__, _HOMES)
