"""What the command's tests share: real files, and the command run in this process."""

from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from jaxgd.cli.__main__ import main


class Outcome(NamedTuple):
    """What a user sees of a command: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def jaxgd(capsys, tmp_path, monkeypatch):
    """Runs `jaxgd …` in an empty directory on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*argv):
        status = main([str(arg) for arg in argv])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def flowers(tmp_path):
    """A CSV as people have them: a header, a text target, columns from 1e-6 to 1e6, an id."""
    rng = np.random.default_rng(0)
    n = 300
    mass, area = rng.normal(3e-6, 1e-6, n), rng.normal(2e6, 1e6, n)
    signal = (mass - 3e-6) / 1e-6 + (area - 2e6) / 1e6
    kind = np.where(signal > 0, "rose", "fern")
    frame = pl.DataFrame(
        {"id": [f"f{i}" for i in range(n)], "mass kg": mass, "area mm²": area, "kind": kind}
    )
    frame.write_csv(tmp_path / "flowers.csv")
    return tmp_path / "flowers.csv"
