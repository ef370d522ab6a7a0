"""`jaxgd compare`: the lesson's claim on real data, in the table, the picture and the CSV."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgd.cli.terminal import figure

ROOT = Path(__file__).parents[2]


def rows(out):
    """The table's numbers by row name, a value a method."""
    return {
        line[:20].strip(): [float(cell.replace(",", "")) for cell in line[20:].split()]
        for line in out.splitlines()
        if line.lstrip().startswith(("updates", "training", "held-out", "seconds"))
    }


@pytest.mark.slow
def test_on_the_bundled_data_more_updates_an_epoch_win(tmp_path):
    """The very command of the README, as a process of its own."""
    result = subprocess.run(
        [sys.executable, "-m", "jaxgd", "compare", "--out", "a/b"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    assert "455 rows to train on, 114 held out" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    found = rows(result.stdout)
    assert found["updates per epoch"] == [1, 455, 15]
    assert found["updates"] == [20, 9100, 300]
    gd, sgd, minibatch = found["training loss"]
    assert max(sgd, minibatch) < gd < math.log(2)
    assert found["held-out accuracy"][2] >= 0.95
    assert all(rate > 0 for rate in found["updates per second"])

    with (tmp_path / "a/b/loss-curves.csv").open() as file:
        header, *lines = csv.reader(file)
    assert header == ["epoch", "GD", "SGD", "mini-batch of 32"]
    curves = np.array(lines, dtype=float)
    np.testing.assert_array_equal(curves[:, 0], np.arange(21))
    np.testing.assert_array_equal(np.round(curves[0, 1:], 4), [0.6931] * 3)
    assert [figure(loss) for loss in curves[-1, 1:]] == [figure(x) for x in (gd, sgd, minibatch)]
    picture = (tmp_path / "a/b/loss-curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(list((tmp_path / "a/b").iterdir())) == 2


def test_a_method_that_diverges_is_named_and_the_others_are_shown(jaxgd, tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 40))
    np.savez(tmp_path / "t.npz", x=x, y=x @ np.arange(40.0))
    status, out, _ = jaxgd("compare", "t.npz", "--learning-rate", 0.2, "--epochs", 30)
    assert status == 0
    assert "SGD diverged in epoch" in out
    assert "GD diverged" not in out.replace("SGD diverged", "")
    assert "held-out RMSE" in out
    assert "held-out R²" in out
    lines = (tmp_path / "jaxgd-compare" / "loss-curves.csv").read_text().splitlines()
    assert lines[-1].split(",")[2] == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--batch-size", 0], "batch_size must be in [1, n]; got batch_size=0."),
        (["--out", "taken"], "cannot write taken/loss-curves.png: taken is not a directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(jaxgd, tmp_path, args, message):
    (tmp_path / "taken").write_text("")
    status, out, err = jaxgd("compare", *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"jaxgd: {message}")
    assert err.count("\n") == 1
