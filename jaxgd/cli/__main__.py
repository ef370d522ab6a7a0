"""The command's entry: subcommands found, errors told in one line, exit statuses set."""

import sys
from collections.abc import Callable, Sequence

_INTERRUPTED = 130
_FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command with these arguments: 0, 2 after an error, 130 after Ctrl-C.

    `jaxgd check` exits with 1 where this machine's numbers are not PyTorch's, `jaxgd diff` where
    two recordings are not the same training.

    Whatever a user can cause, from a missing file to a diverging run, is one line on standard
    error. Anything else is a bug and keeps its traceback.
    """
    try:
        _run_subcommand(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename}" if error.filename else error)
    except (ValueError, FloatingPointError, ModuleNotFoundError) as error:
        return _fail(error)
    return 0


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
    from jaxgd.cli.check_command import check
    from jaxgd.cli.compare_command import compare
    from jaxgd.cli.diff_command import diff
    from jaxgd.cli.fit_command import fit
    from jaxgd.cli.notebook_command import notebook
    from jaxgd.cli.predict_command import predict

    app = SubcommandApp()
    subcommands: tuple[Callable[..., None], ...] = (compare, fit, predict, notebook, check, diff)
    for subcommand in subcommands:
        app.command(subcommand)
    app.cli(prog="jaxgd", args=argv, description="Gradient descent as pure functions in JAX.")


def _fail(error: object, status: int = _FAILED) -> int:
    print(f"jaxgd: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
