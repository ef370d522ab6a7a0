"""The command's entry: errors told in one line, exit statuses set."""

import gc
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxgd.cli.interrupts import signals_heard
from jaxgd.cli.kept_programs import BUSY, keep_programs
from jaxgd.cli.output import LettingGo
from jaxgd.cli.parsing import Unread, read
from jaxgd.cli.wording import in_options
from jaxgd.fitting import Interrupted

_FAILED = 2
_USERS = (ValueError, FloatingPointError, ModuleNotFoundError, RuntimeError, MemoryError)

# Imports make 310 000 objects, and most of them stay: to look through them again and again takes a
# sixth to a quarter of the time of importing.
_RARELY = 400_000


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command with these arguments: 0, or 2 after an error.

    130 after ctrl-C and 143 after SIGTERM, whatever came of them. `jaxgd check` exits with 1 where
    this machine's numbers are not PyTorch's, `jaxgd diff` where two recordings are not the same
    training, `jaxgd compare` and `jaxgd sweep` where every method or setting diverged. A reader of
    the output that leaves, as `head` does, changes nothing.

    Whatever goes wrong is a line or two on standard error, with `--debug` a traceback.
    """
    is_process, argv = argv is None, sys.argv[1:] if argv is None else list(argv)
    if is_process:
        gc.set_threshold(_RARELY)
        out: Any = LettingGo(sys.stdout)
        sys.stdout = out
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    with signals_heard() as signals, _warnings_in_one_line():
        try:
            _run(argv, is_process)
            status = 0
        except KeyboardInterrupt as error:
            told = str(error) or "interrupted"
            told += _going_on(argv) if _is_saved(error, argv) else ""
            status = _fail(told, 128 + getattr(error, "number", signal.SIGINT))
        except Exception as error:
            if debug and not isinstance(error, Unread):
                raise
            status = _fail(_in_one_line(error, argv[0] if argv else ""))
        finally:
            sys.stdout.flush()
    if is_process and status > 128:  # it is on its way out: another signal has nothing to say
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status if signals.number is None else 128 + signals.number


def _run(argv: list[str], is_process: bool) -> None:
    if argv == ["--version"]:
        from jaxgd.version import __version__

        print(f"jaxgd {__version__}")
        return
    command = read(argv)
    if is_process:
        keep_programs()
    command()


def _in_one_line(error: Exception, command: str) -> str:
    """What a user can cause in its own words; anything else as the bug that it is."""
    if isinstance(error, OSError):
        told = str(error.strerror or error)
        return f"{told}: {error.filename}" if error.filename else told
    told = " ".join(str(error).split("\n"))
    if isinstance(error, _USERS):
        return in_options(told, command)
    return f"{type(error).__name__}: {told}. This is a bug in jaxgd: --debug shows where."


def _is_saved(error: KeyboardInterrupt, argv: list[str]) -> bool:
    has_run = any(word == "--run" or word.startswith("--run=") for word in argv)
    return isinstance(error, Interrupted) and has_run


def _going_on(argv: list[str]) -> str:
    """The command that goes on from what was saved."""
    name = "jaxgd" if Path(sys.argv[0]).stem == "jaxgd" else "python -m jaxgd"
    resume = "" if "--resume" in argv else " --resume"
    return f"\ngo on with: {name} {shlex.join(argv)}{resume}"


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What fit warns of, once and in the command's own voice."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.filterwarnings("ignore", BUSY)
        warnings.showwarning = lambda message, *_: print(
            f"jaxgd: {in_options(str(message))}", file=sys.stderr
        )
        yield


def _fail(error: object, status: int = _FAILED) -> int:
    print(f"jaxgd: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
