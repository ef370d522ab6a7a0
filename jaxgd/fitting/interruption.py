"""Signals that wait for the next border of the plan."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jaxgd.fitting.history


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during a fit; `.fit` is the run up to the border where it stopped.

    In a notebook it is at hand afterwards, too: `sys.last_value.fit`. `.reached` is its position
    in words, `.number` the signal's.
    """

    def __init__(
        self, message: str, fit: "jaxgd.fitting.history.Fit", number: int, reached: str
    ) -> None:
        super().__init__(message)
        self.fit, self.number, self.reached = fit, number, reached


class Waiting:
    """The signal that has come and waits to be heard, if one has."""

    number: int | None = None


@contextmanager
def signals_wait(numbers: tuple[int, ...]) -> Iterator[Waiting]:
    """The first of these signals waits in what is returned; a second one acts at once.

    Whoever hears it takes it out; one that is still there at the end is sent again.

    Only a main thread may handle signals; in any other they stay as they are.
    """
    waiting = Waiting()
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        waiting.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if _handler(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = _handler(number)
                signal.signal(number, note)
    try:
        yield waiting
    finally:
        restore()
        if waiting.number is not None:  # nobody has heard it
            signal.raise_signal(waiting.number)


def _handler(number: int) -> Any:
    """What handles a signal now; a handler that Python did not set counts as the default."""
    handler = signal.getsignal(number)
    return signal.SIG_DFL if handler is None else handler
