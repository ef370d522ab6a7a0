"""Standard output whose reader may leave, as `head` does."""

import os
from typing import Any


class LettingGo:
    """A stream that lets go of what nobody reads, so that the command ends as it would have."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> "LettingGo":
        """The same for bytes."""
        return LettingGo(self._stream.buffer)

    def write(self, content: Any) -> int:
        """Write what is still read."""
        try:
            return self._stream.write(content)
        except BrokenPipeError:
            self._let_go()
            return len(content)

    def flush(self) -> None:
        """Hand over what is still read."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
