"""Trees of arrays on disk; nothing here knows of descents."""

from jaxgd.storage.background import Background
from jaxgd.storage.checkpoints import Checkpoints
from jaxgd.storage.trees import Stored, load, read, save

__all__ = ["Background", "Checkpoints", "Stored", "load", "read", "save"]
