"""docs/your-table.md: each command prints what stands under it, on the tables of its script."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from jaxgd.cli.__main__ import main
from tests.tolerances import PRINTED_F32

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your-table.md").read_text()
SHOWN = re.findall(r"^```console\n\$ jaxgd (.*?)\n(.*?)^```\n", PAGE, re.M | re.S)
NEVER_THE_SAME = re.compile(r"\d[\d.]* s after \d[\d.]* s of compiling")
FIGURE = re.compile(r"[-+]?\d+\.\d+(e[-+]\d+)?,?")


def words(text):
    return [word for word in NEVER_THE_SAME.sub("", text).split() if word.strip("─")]


def is_same(one, other):
    if FIGURE.fullmatch(one) and FIGURE.fullmatch(other):
        return float(one.rstrip(",")) == pytest.approx(float(other.rstrip(",")), **PRINTED_F32)
    return one == other


@pytest.mark.optax_promotion
def test_the_page_shows_what_the_commands_print(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    runpy.run_path(str(ROOT / "docs" / "raw_tables.py"), run_name="__main__")
    assert len(SHOWN) >= 8
    for command, shown in SHOWN:
        main(shlex.split(command))
        found = capsys.readouterr()
        printed, page = words(found.out + found.err), words(shown)
        assert len(printed) == len(page), f"{command}\n{found.out}{found.err}"
        for one, other in zip(printed, page, strict=True):
            assert is_same(one, other), command


def test_each_line_of_the_harm_list_names_tests_that_are_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) >= 8
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
