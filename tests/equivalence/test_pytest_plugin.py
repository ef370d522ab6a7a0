"""The plugin, in the tests of a project that is not this one."""

from pathlib import Path

import pytest

import jaxgd.equivalence  # noqa: F401  # pytester forgets, and imports again, what a test imports
import pytest_jaxgd

WALK = "import numpy as np\nwalk = np.cumsum(np.full((5, 2), 0.3), axis=0)\n"
PARTED = "The runs part at update 3 of 4, in 'w' float64[2]."


@pytest.fixture
def project(pytester):
    """A project with one honest and one faulty test."""
    pytester.makepyfile(
        WALK
        + """
def test_honest(equivalence):
    assert equivalence({"w": walk}, {"w": walk.copy()}).verdict == "equivalent"

def test_faulty(equivalence):
    wrong = walk.copy()
    wrong[3:] += 0.01
    equivalence({"w": wrong}, {"w": walk})
"""
    )
    return pytester


def run(pytester, *options):
    return pytester.runpytest_inprocess("-p", "pytest_jaxgd", "-p", "no:cacheprovider", *options)


def test_a_failure_shows_the_report(project):
    result = run(project)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"*{PARTED.replace('[', '[[]')}"])
    assert not list(project.path.glob("**/*.txt"))


def test_each_failing_test_leaves_its_report(project):
    run(project, "--equivalence-reports=out/reports", "--equivalence-seed=7")
    (file,) = project.path.glob("out/reports/*.txt")
    assert file.name.startswith("test_each_failing_test_leaves_its_report.py_test_faulty-")
    heading, report, table = file.read_text(encoding="utf-8").split("\n\n")
    assert heading.endswith(".py::test_faulty\n--equivalence-seed=7")
    assert report.startswith(PARTED)
    assert len(table.splitlines()) == 1 + 5


def test_a_step_is_proven_and_a_parting_proof_leaves_its_report(pytester):
    pytester.makepyfile(
        """
import numpy as np
from jaxgd.equivalence import Recipe, Update

rng = np.random.default_rng(0)
batches = [rng.normal(size=(4, 3)) for _ in range(9)]

def port(rate, scale=1.0):
    def step(params, x):
        outputs = x @ params["w"]
        gradient = {"w": scale * 2 * x.T @ outputs / len(x)}
        updated = {"w": params["w"] - rate * gradient["w"]}
        return Update(params, gradient, updated, x, outputs, scale * (outputs**2).mean())
    return step

def recorded():
    params, recording = {"w": np.ones(3)}, []
    for x in batches:
        recording.append(port(0.05)(params, x))
        params = recording[-1].updated
    return recording

def proven(equivalence, step):
    recipe, start = Recipe("sgd", lr=0.05), {"w": np.ones(3)}
    return equivalence(
        step=step, expected=recorded(), reference=port(0.0), recipe=recipe, start=start
    )

def test_honest(equivalence):
    assert proven(equivalence, port(0.05)).verdict == "equivalent"

def test_faulty(equivalence):
    proven(equivalence, port(0.05, scale=1 + 1e-9))
"""
    )
    result = run(pytester, "--equivalence-reports=out")
    result.assert_outcomes(passed=1, failed=1)
    (file,) = pytester.path.glob("out/*.txt")
    heading, report = file.read_text(encoding="utf-8").split("\n\n")
    assert "test_faulty" in heading
    assert report.startswith("The trainings part in update 1 of 9.\nStage: loss, ")


def test_a_test_that_passes_again_leaves_none(project):
    reports = "--equivalence-reports=out"
    run(project, reports)
    module = next(project.path.glob("test_*.py"))
    module.write_text(module.read_text().replace("wrong[3:]", "wrong[5:]"))
    run(project, reports).assert_outcomes(passed=2)
    assert not list(project.path.glob("out/*"))


def test_tests_of_one_name_do_not_share_a_file(pytester):
    pytester.makepyfile(
        WALK
        + """
import pytest

@pytest.mark.parametrize("name", ["a/b", "a:b", "ä" * 200 + "1", "ä" * 200 + "2"])
def test_it(equivalence, name):
    equivalence({"w": 2 * walk}, {"w": walk}, until=3)
"""
    )
    run(pytester, "--equivalence-reports=out").assert_outcomes(failed=4)
    assert len(list(pytester.path.glob("out/*.txt"))) == 4


def test_the_seed_stands_in_the_header_and_reaches_the_test(pytester):
    pytester.makepyfile("def test_it(equivalence_seed): assert equivalence_seed == 41")
    result = run(pytester, "--equivalence-seed=41")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["jaxgd: --equivalence-seed=41"])
    run(pytester).assert_outcomes(failed=1)


def test_it_costs_nothing_while_unused(pytester, monkeypatch):
    pytester.makeconftest(
        """
import sys

def pytest_sessionfinish():
    assert "pytest_jaxgd" in sys.modules
    assert not {"jax", "torch", "jaxgd"} & set(sys.modules)
"""
    )
    pytester.makepyfile("def test_it(): pass")
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_jaxgd.__file__).parent))
    result = pytester.runpytest_subprocess("-p", "pytest_jaxgd")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
