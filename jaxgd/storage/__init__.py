"""Trees of arrays on disk; nothing here knows of descents."""

from jaxgd.storage.checkpoints import Checkpoints
from jaxgd.storage.trees import Stored, load, read, save

__all__ = ["Checkpoints", "Stored", "load", "read", "save"]
