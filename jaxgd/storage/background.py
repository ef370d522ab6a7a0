"""One piece of work at a time, beside what goes on meanwhile."""

import threading
from collections.abc import Callable


class Background:
    """Does one thing at a time in a thread of its own; what that raises, the next call raises.

    The thread is not a daemon: a process that ends finishes it first.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: object, broken_off_by: BaseException | None, _: object) -> None:
        """Wait until the work is through; what broke off the block is not hidden by its error.

        A ctrl-C meanwhile is raised after it: what the block holds is not let go before.
        """
        pressed: KeyboardInterrupt | None = None
        while self._thread is not None and self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt as error:
                pressed = error
        try:
            self.wait()
        except BaseException as error:
            if broken_off_by is None:
                raise
            broken_off_by.add_note(f"and beside it: {error}")
        if pressed is not None and broken_off_by is None:
            raise pressed

    def start(self, work: Callable[[], object]) -> None:
        """Begin the work, once what was begun before is through."""
        self.wait()

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="jaxgd save")
        self._thread.start()

    def look(self) -> None:
        """Raise what the work has raised, if it is through."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait until the work is through, and raise what it has raised."""
        if self._thread is not None:
            self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error
