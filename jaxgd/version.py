"""Which jaxgd this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("jaxgd")
except PackageNotFoundError:
    __version__ = "source"  # it runs from a clone
