"""The command's entry: subcommands found, errors told in one line, exit statuses set."""

import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from jaxgd.cli.interrupts import signals_heard
from jaxgd.cli.wording import in_options
from jaxgd.fitting import Interrupted

# In the order of the help. Only the one that is asked for is imported.
_SUBCOMMANDS = (
    *("compare", "fit", "sweep", "predict", "export"),
    *("influence", "noise", "notebook", "check", "diff"),
)
_FAILED, _UNREAD = 2, 141
_USERS = (ValueError, FloatingPointError, ModuleNotFoundError, RuntimeError, MemoryError)
_DESCRIPTION = (
    "Gradient descent as pure functions in JAX. `jaxgd --version` prints the version; any command "
    "with --debug shows the traceback of an error."
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command with these arguments: 0, or 2 after an error.

    130 after ctrl-C and 143 after SIGTERM, whatever came of them; 141 where nobody reads the output
    on. `jaxgd check` exits with 1 where this machine's numbers are not PyTorch's, `jaxgd diff`
    where two recordings are not the same training, `jaxgd compare` and `jaxgd sweep` where every
    method or setting diverged.

    Whatever goes wrong is one line on standard error, with `--debug` a traceback.
    """
    is_process, argv = argv is None, sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    with signals_heard() as signals, _warnings_in_one_line():
        try:
            _run_subcommand(argv)
            sys.stdout.flush()
            status = 0
        except KeyboardInterrupt as error:
            told = str(error) or "interrupted"
            told += _going_on(argv) if _is_saved(error, argv) else ""
            status = _fail(told, 128 + getattr(error, "number", signal.SIGINT))
        except BrokenPipeError:
            status = _unread()
        except Exception as error:
            if debug:
                raise
            status = _fail(_in_one_line(error, argv[0] if argv else ""))
    if is_process and status > 128:  # it is on its way out: another signal has nothing to say
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status if signals.number is None else 128 + signals.number


def _run_subcommand(argv: list[str]) -> None:
    if argv == ["--version"]:
        from jaxgd.tabular.model_file import jaxgd_version

        print(f"jaxgd {jaxgd_version()}")
        return
    try:
        from tyro.extras import SubcommandApp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the command needs {error.name}: pip install "jaxgd[cli]"'
        ) from None
    app = SubcommandApp()
    for name in [name for name in _SUBCOMMANDS if name in argv[:1]] or _SUBCOMMANDS:
        app.command(getattr(import_module(f"jaxgd.cli.{name}_command"), name))
    app.cli(prog="jaxgd", args=argv, description=_DESCRIPTION)


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


def _unread() -> int:
    """The status where the reader of a pipe has gone: as if the signal had ended the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or it fails again at the end
    return _UNREAD


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What fit warns of, once and in the command's own voice."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_: print(
            f"jaxgd: {in_options(str(message))}", file=sys.stderr
        )
        yield


def _fail(error: object, status: int = _FAILED) -> int:
    print(f"jaxgd: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
