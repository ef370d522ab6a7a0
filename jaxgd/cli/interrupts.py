"""Ctrl-C and SIGTERM while a command runs: none is swallowed, and a second one ends it at once.

Python hands a signal to the main thread between two of its operations. There it may be lost (an
exception in a callback of the garbage collector is printed and forgotten) or wait long (while a
compiled program runs). So the first is also noted, and a thread of its own waits for a second.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jaxgd.fitting import Interrupted

_HEARD = (signal.SIGINT, signal.SIGTERM)
_END, _AGAIN = b"\x00", b"\xff"  # no signal has such a number
_A_MOMENT = 0.01  # seconds, for the main thread to get out of what forgets exceptions
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Signalled(KeyboardInterrupt):
    """A signal that ends the command, raised in the main thread."""

    def __init__(self, number: int, told: str = "interrupted") -> None:
        super().__init__(told)
        self.number = number


class Signals:
    """The first signal that has come, None before."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.reads, self.writes = os.pipe()
        self.hook = sys.unraisablehook
        os.set_blocking(self.writes, False)

    def raise_here(self, number: int, _: FrameType | None = None) -> None:
        """Handle a signal: note it, and raise."""
        self.number = number
        raise Signalled(number)

    def raise_later(self, unraisable: Any) -> None:
        """Take the place of sys.unraisablehook, in which nothing can be raised either."""
        if isinstance(unraisable.exc_value, Signalled):
            os.write(self.writes, _AGAIN)
        else:
            self.hook(unraisable)

    def watch(self) -> None:
        """Read the numbers of signals as they come; end the process at the second one."""
        left = 2
        while (byte := os.read(self.reads, 1)) != _END:
            if byte == _AGAIN and self.number is not None:
                time.sleep(_A_MOMENT)
                left += 1  # this one is our own
                _thread.interrupt_main(signal.Signals(self.number))
            left -= byte[0] in _HEARD
            if left == 0:
                cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
                told = "jaxgd: stopped at once; what was saved before stays as it was"
                os.write(2, f"{cursor}{told}\n".encode())
                os._exit(128 + byte[0])


@contextmanager
def signals_heard() -> Iterator[Signals]:
    """The signals that come during the block; only a main thread hears any."""
    signals = Signals()
    watcher = threading.Thread(target=signals.watch, daemon=True)
    watcher.start()
    try:
        with _handled(signals):
            yield signals
    finally:
        os.write(signals.writes, _END)
        watcher.join()
        os.close(signals.reads)
        os.close(signals.writes)


@contextmanager
def told_as(told: str) -> Iterator[None]:
    """A signal during the block ends the command with these words, unless it has its own."""
    try:
        yield
    except (Interrupted, Signalled):
        raise
    except KeyboardInterrupt as error:
        raise Signalled(getattr(error, "number", signal.SIGINT), told) from None


@contextmanager
def _handled(signals: Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _HEARD}
    before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    woken = signal.set_wakeup_fd(signals.writes, warn_on_full_buffer=False)
    sys.unraisablehook = signals.raise_later
    try:
        for number in before:
            signal.signal(number, signals.raise_here)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        sys.unraisablehook = signals.hook
        signal.set_wakeup_fd(woken)
