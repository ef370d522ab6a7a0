"""Every example prints what its docstring promises."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDED = {"optuna_in_batches": "optuna"}


def promise(source):
    """The lines after "Prints:" in a module's docstring."""
    docstring = ast.get_docstring(ast.parse(source))
    return [line.strip() for line in docstring.split("Prints:\n")[1].strip().splitlines()]


def run(*command):
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.halved
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_its_promise(path):
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem], reason="needs Optuna: pip install 'jaxgd[study]'")
    done = run(str(path))
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in done.stdout.strip().splitlines()] == promise(path.read_text())


def readme_blocks(language):
    blocks = (ROOT / "README.md").read_text().split("```")[1::2]
    return [block[len(language) + 1 :] for block in blocks if block.startswith(f"{language}\n")]


def test_readme_program_prints_what_the_readme_shows(tmp_path):
    program, shown = readme_blocks("python")[0], readme_blocks("text")[0]
    script = tmp_path / "program.py"
    script.write_text(program)
    done = run(str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == shown.strip()


def test_ci_runs_the_readmes_test_command():
    _, test_command = readme_blocks("sh")[:2]
    assert test_command.strip() in (ROOT / ".ci" / "run").read_text()
