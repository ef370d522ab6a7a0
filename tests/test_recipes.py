"""The blocks of docs/recipes.md, run as they stand there: each prints what the page shows."""

import contextlib
import inspect
import io
import re
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import run_memory
from tests import tolerances

MOST_LINES = 15
PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
# A program and, below it, what it prints; the heading above it names the recipe.
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.M | re.S)
PREAMBLE, RECIPES = BLOCKS[0][0], BLOCKS[1:]


def title(program):
    return re.findall(r"^##+ (.*)", PAGE[: PAGE.index(program)], re.M)[-1]


pytestmark = pytest.mark.usefixtures("quick_compile")

TITLES = [title(program) for program, _ in RECIPES]


@pytest.fixture(autouse=True)
def _as_users_run_it():
    """JAX's own promotion of dtypes and ranks in the place of the suite's strict one."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@cache
def preamble():
    names = {}
    exec(compile(PREAMBLE, "preamble", "exec"), names)
    return names


def own_lines(program):
    """The lines that count: neither blank, nor comments, nor imports."""
    lines = (line.strip() for line in program.splitlines())
    return [line for line in lines if line and not re.match(r"#|import |from ", line)]


@pytest.mark.halved
@pytest.mark.parametrize(("program", "shown"), RECIPES, ids=TITLES)
def test_recipe_prints_what_the_page_shows(program, shown):
    if "flax" in program:
        pytest.importorskip("flax")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "recipe", "exec"), dict(preamble()))
    assert shown, "the page shows no output"
    assert printed.getvalue() == shown


@pytest.mark.parametrize("program", [program for program, _ in RECIPES], ids=TITLES)
def test_recipe_is_short(program):
    assert len(own_lines(program)) <= MOST_LINES
    assert max(map(len, program.splitlines())) <= 100
    assert ";" not in program


def test_every_block_of_the_page_is_a_recipe():
    assert PAGE.count("```python") == len(BLOCKS) == 31


@pytest.mark.exhaustive
@pytest.mark.slow
def test_gradient_of_a_run_holds_less_the_more_often_it_computes_again():
    *reverse, forward = rows = run_memory.measure(exponents=[3])
    held = [row["bytes"] for row in rows]
    kept, by_epoch, by_root, by_halves, tangent = held
    assert kept > 10 * by_epoch > 10 * by_root > 10 * by_halves > 10 * tangent
    gradients = [row["gradient"] for row in reverse]
    np.testing.assert_allclose(gradients, forward["gradient"], rtol=tolerances.RECOMPUTED_F32)


def test_page_shows_the_nested_run_that_is_measured():
    assert inspect.getsource(run_memory.nested) in PAGE
    assert all(f"| `{way}` |" in PAGE for way in (*run_memory.RUNS, run_memory.FORWARD))
