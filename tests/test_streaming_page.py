"""docs/streaming.md: its blocks are one program that prints what the page shows."""

import contextlib
import io
import re
from importlib.util import find_spec
from pathlib import Path

import jax

PAGE = (Path(__file__).parents[1] / "docs" / "streaming.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.M | re.S)


def test_the_page_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for program, shown in BLOCKS:
            if "import torch" in program and not find_spec("torch"):
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "docs/streaming.md", "exec"), names)
            assert printed.getvalue() == shown, program
