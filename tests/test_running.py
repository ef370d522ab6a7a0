"""docs/running.md: its blocks are one program that prints what the page shows; its commands run."""

import contextlib
import io
import re
import shlex
import warnings
from pathlib import Path

import jax
import pytest

from jaxgd.cli.__main__ import main

PAGE = (Path(__file__).parents[1] / "docs" / "running.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.M | re.S)
COMMANDS = re.search(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)[1].splitlines()


def test_the_page_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for program, shown in BLOCKS:
            if "tensorboardX" in program:
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "docs/running.md", "exec"), names)
            assert printed.getvalue() == shown, program
        board, shown = BLOCKS[-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboardX's own
            pytest.importorskip("tensorboardX")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(board, "docs/running.md", "exec"), names)
    assert printed.getvalue() == shown


def test_its_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        assert main(shlex.split(command)[1:]) == 0
    assert (tmp_path / "runs/one/history.jsonl").read_text().count("\n") == 20
