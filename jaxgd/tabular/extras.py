"""The optional dependencies that tables need, imported where they are used."""

import importlib
from types import ModuleType


def extra(module: str) -> ModuleType:
    """A module of the optional dependencies, or an error that says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'reading tables needs {error.name}: pip install "jaxgd[cli]"', name=error.name
        ) from None
