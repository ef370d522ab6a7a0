"""docs/scale.md: its blocks are one program that prints what the page shows."""

import contextlib
import io
import re
from pathlib import Path

import jax
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.M | re.S)


@pytest.mark.usefixtures("quick_compile_here")
def test_the_page_prints_what_it_shows():
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for program, shown in BLOCKS:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "docs/scale.md", "exec"), names)
            assert printed.getvalue() == shown, program
    assert len(BLOCKS) == PAGE.count("```python") == 5
