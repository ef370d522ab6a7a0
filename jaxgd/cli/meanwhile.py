"""Modules imported while something else is done, such as compiling, which leaves Python free."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread


@contextmanager
def imported_meanwhile(*modules: str) -> Iterator[None]:
    """Import the modules in a thread while the block runs; it ends with the later of both.

    One that cannot be imported is told of where it is used.
    """

    def load() -> None:
        for module in modules:
            with suppress(ImportError):
                import_module(module)

    thread = Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        thread.join()
