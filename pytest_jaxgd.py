"""The pytest plugin: equivalence of two trainings, for the tests of any project.

It lies outside the package because pytest imports its plugins whenever it starts, and `jaxgd`
imports JAX: a project that has jaxgd installed should not wait for JAX in tests without it.
"""

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds where reports go, and the seed."""
    group = parser.getgroup("jaxgd", "equivalence of two trainings")
    group.addoption(
        "--equivalence-reports",
        metavar="DIR",
        help="write the full report of each test whose trainings are not equivalent into DIR",
    )
    group.addoption(
        "--equivalence-seed",
        metavar="SEED",
        type=int,
        default=0,
        help="what the fixture equivalence_seed returns (default: %(default)s)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """The seed, so that a log tells how to run the same tests again."""
    return f"jaxgd: --equivalence-seed={config.option.equivalence_seed}"


@pytest.fixture
def equivalence_seed(pytestconfig: pytest.Config) -> int:
    """The seed of this test session, set by --equivalence-seed and shown in the header."""
    return pytestconfig.option.equivalence_seed


@pytest.fixture
def equivalence(request: pytest.FixtureRequest) -> Callable[..., object]:
    """`jaxgd.equivalence.assert_equivalent`, with the report on file when it fails.

    Given a step it proves, given two trajectories it compares; a proof's report has no table.

    With --equivalence-reports=DIR, each test that fails leaves one file in DIR with the test's id,
    the seed, the report and every number behind it; a test that passes leaves none.
    """
    from jaxgd.equivalence import NotEquivalent, assert_equivalent

    file, found = _report_file(request), []
    if file is not None:
        file.unlink(missing_ok=True)

    def check(*arguments: object, **options: object) -> object:
        __tracebackhide__ = True
        try:
            return assert_equivalent(*arguments, **options)
        except NotEquivalent as failure:
            if file is not None:
                found.append("\n\n".join([str(failure.report), *_table(failure.report)]))
                file.parent.mkdir(parents=True, exist_ok=True)
                seed = request.config.option.equivalence_seed
                heading = f"{request.node.nodeid}\n--equivalence-seed={seed}"
                file.write_text("\n\n".join([heading, *found]), encoding="utf-8")
            raise

    return check


def _table(report: Any) -> list[str]:
    """Every number of a comparison; a proof tells all it has."""
    return [report.table()] if hasattr(report, "table") else []


def _report_file(request: pytest.FixtureRequest) -> Path | None:
    """Where this test's report goes: its id, made fit for a file name and still its own."""
    directory = request.config.option.equivalence_reports
    if directory is None:
        return None
    identity = request.node.nodeid
    readable = re.sub(r"[^\w.-]+", "_", identity)[:120].strip("_")
    checksum = zlib.crc32(identity.encode())
    return request.config.invocation_params.dir / directory / f"{readable}-{checksum:08x}.txt"
