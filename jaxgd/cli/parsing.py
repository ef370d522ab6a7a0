"""A command found and its arguments read: what cannot be read is told in a line or two."""

import difflib
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from functools import partial, wraps
from importlib import import_module
from itertools import dropwhile, takewhile
from typing import Any

from jaxgd.cli.words import in_order

# In the order of the help, each in the module of its name.
COMMANDS = (
    "compare",
    "fit",
    "sweep",
    "predict",
    "evaluate",
    "show",
    "report",
    "export",
    "influence",
    "noise",
    "notebook",
    "check",
    "diff",
)
_DESCRIPTION = (
    "Gradient descent as pure functions in JAX. `jaxgd --version` prints the version; any command "
    "with --debug shows the traceback of an error."
)
_FRAME = re.compile(r"[─━═│┃║╭╮╰╯┌┐└┘├┤]+|-{4,}|\x1b\[[0-9;]*m")


class Unread(ValueError):
    """Arguments that cannot be read, and whose help says more."""


def read(argv: Sequence[str]) -> Callable[[], None]:
    """What these arguments ask for, ready to be called; printed help ends in SystemExit.

    Raises Unread for those that no command takes.
    """
    try:
        import tyro
        from tyro.extras import SubcommandApp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the command needs {error.name}: pip install "jaxgd[cli]"'
        ) from None
    _ask_no_typeguard()
    name = argv[0] if argv else "--help"
    if name in COMMANDS:
        program, words = f"jaxgd {name}", in_order(list(argv[1:]))
        if name == "fit" and any(word.startswith("--config") for word in words):
            from jaxgd.cli.config_file import with_config

            words = in_order(with_config(words))
        return _parsed(program, lambda: tyro.cli(_later(name), prog=program, args=words))
    if not name.startswith("-"):
        nearest = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        raise Unread(f"there is no command {name!r}{hint}. See jaxgd --help.")
    app = SubcommandApp()
    for command in COMMANDS:
        later = _later(command)
        app.command(help=(later.__doc__ or "").split("\n")[0])(later)
    words = [name, *argv[1:]]
    return _parsed("jaxgd", lambda: app.cli(prog="jaxgd", args=words, description=_DESCRIPTION))


def _ask_no_typeguard() -> None:
    """Have tyro take it that defaults are of their types, which mypy knows.

    It would ask typeguard, which takes as long to import as tyro itself. A tyro that is built
    otherwise is left alone.
    """
    with suppress(ImportError):
        from tyro import _resolver

        vars(_resolver)["is_instance"] = lambda *_: True


def _later(name: str) -> Any:
    """The command of that name, which with its arguments is still to be called."""
    command = getattr(import_module(f"jaxgd.cli.{name}_command"), name)

    @wraps(command)
    def bound(*args: Any, **named: Any) -> Callable[[], None]:
        return partial(command, *args, **named)

    return bound


def _parsed(program: str, parse: Callable[[], Any]) -> Callable[[], None]:
    """What the parser gives; its complaint, which is a box of many lines, in one."""
    told = io.StringIO()
    try:
        with redirect_stderr(told):
            return parse()
    except SystemExit as exit_:
        if not exit_.code:
            raise
        raise Unread(f"{_in_one_line(told.getvalue())} See {program} --help.") from None


def _in_one_line(box: str) -> str:
    """What stands in a box under its title, without the hints that follow a rule."""
    lines = [_FRAME.sub("", line).strip() for line in box.splitlines()]
    under_title = dropwhile(lambda line: not line, lines[1:])
    told = " ".join(takewhile(bool, under_title)) or " ".join(lines)
    nearest = re.search(r"Perhaps you meant:\s+(--\S+)", " ".join(lines))
    hint = f"; the nearest is {nearest[1]}" if nearest else ""
    return textwrap.shorten(told, 300, placeholder=" …").rstrip(".") + f"{hint}."
