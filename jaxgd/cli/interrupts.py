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
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_HEARD = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Signalled(KeyboardInterrupt):
    """A signal that ends the command, raised in the main thread."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.number = number


class Signals:
    """The first signal that has come, None before."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.hook = sys.unraisablehook
        self._again = 0

    def raise_here(self, number: int, _: FrameType | None = None) -> None:
        """Handle a signal: note it, and raise."""
        self.number = number
        raise Signalled(number)

    def raise_again(self, unraisable: Any) -> None:
        """Take the place of sys.unraisablehook: what could not be raised there is raised later."""
        if isinstance(unraisable.exc_value, Signalled):
            self._again += 1
            _thread.interrupt_main(unraisable.exc_value.number)
        else:
            self.hook(unraisable)

    def end_at_second(self, pipe: int) -> None:
        """Read the numbers of signals as they come; end the process at the second one."""
        came = 0
        while (number := os.read(pipe, 1)[0]) != 0:
            came += number in _HEARD
            if came - self._again > 1:
                cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
                told = "jaxgd: stopped at once; what was saved before stays as it was"
                os.write(2, f"{cursor}{told}\n".encode())
                os._exit(128 + number)


@contextmanager
def signals_heard() -> Iterator[Signals]:
    """The signals that come during the block; only a main thread hears any."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.getsignal(number) for number in _HEARD}
    before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    watcher = threading.Thread(target=signals.end_at_second, args=(reads,), daemon=True)
    woken = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    sys.unraisablehook = signals.raise_again
    watcher.start()
    try:
        for number in before:
            signal.signal(number, signals.raise_here)
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        sys.unraisablehook = signals.hook
        signal.set_wakeup_fd(woken)
        os.write(writes, b"\0")
        watcher.join()
        os.close(reads)
        os.close(writes)
