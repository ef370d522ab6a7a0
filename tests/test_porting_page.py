"""docs/porting.md: its commands, run in the page's order, print what the page shows."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import jax
import pytest

from jaxgd.cli.__main__ import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "porting.md").read_text()
# Commands, and below them what they print together.
BLOCKS = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```\n", PAGE, re.M | re.S)
SCRIPTS = ("in_torch", "in_flax")


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """The page's scripts as modules, run where their folders may be written."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(ROOT / "examples" / "porting")
    monkeypatch.chdir(tmp_path)
    import in_flax
    import in_torch

    yield {"in_torch.py": in_torch, "in_flax.py": in_flax}
    for name in SCRIPTS:
        sys.modules.pop(name)


def run(command, scripts):
    program, *words = shlex.split(command)
    if program == "jaxgd":
        with contextlib.suppress(SystemExit):
            main(words)
    elif words[0] == "in_torch.py":
        scripts["in_torch.py"].train(words[1])
    else:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            scripts["in_flax.py"].train(words[1], words[2:])


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.usefixtures("quick_compile_here")
def test_the_commands_print_what_the_page_shows(scripts):
    with jax.numpy_rank_promotion("allow"):
        for commands, shown in BLOCKS:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                for command in commands.splitlines():
                    run(command, scripts)
            assert without_numbers(printed.getvalue()) == shown, commands


def without_numbers(told):
    """Without how well each difference explains the recording: roundings, which the page omits."""
    return "".join(line for line in told.splitlines(keepends=True) if " x rounding is" not in line)


def test_the_page_has_three_commands_and_two_more_stories():
    assert [len(commands.splitlines()) for commands, _ in BLOCKS] == [1, 1, 1, 2, 2]
