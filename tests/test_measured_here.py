"""`python -m benchmarks --accelerator`: measured beside estimated, in numbers and in words."""

from types import SimpleNamespace

import pytest

from benchmarks.accelerators.estimate import CHIPS, Chip, name_of
from benchmarks.accelerators.here import (
    Row,
    how_far_off,
    kept,
    measured,
    numbers_of,
    on_record,
)

ROWS = [Row("GD", 50.0, 100.0), Row("SGD", 4.0, 2.0), Row("blocked SGD", 1.0, 0.125)]


def test_a_program_is_run_here_and_held_against_its_estimate():
    chip = Chip(bandwidth=16e9, peak=1e11, launch=1e-7, wait=0, links=())
    [row] = measured(chip, 1, ["blocked SGD"])
    assert row.program == "blocked SGD"
    assert row.measured > 0
    assert row.estimated > 0.1  # a launch a row at least
    [alone] = measured(None, 1, ["blocked SGD"])
    assert alone.cells[1] == "none"


def test_how_far_off_is_the_middle_and_the_furthest():
    assert how_far_off(ROWS) == (
        "The estimate was 2 times what was measured, in the geometric mean of 3 programs: "
        "from 0.5 (GD) to 8 (blocked SGD)."
    )
    assert how_far_off([Row("GD", None, 3.0)]) == "No estimate to hold against."


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H200", "H200"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("TPU7x", "TPU7x"),
        ("NVIDIA L4", None),
        ("cpu", None),
    ],
)
def test_a_device_is_known_by_its_kind(kind, name):
    assert name_of(kind) == name
    assert name is None or name in CHIPS


def test_a_device_that_is_in_no_table_is_told_so():
    chip, words = numbers_of(SimpleNamespace(device_kind="NVIDIA L4", platform="gpu"))
    assert chip is None
    assert "no public numbers of 'NVIDIA L4'" in words
    chip, words = numbers_of(SimpleNamespace(device_kind="TPU v6 lite", platform="tpu"))
    assert chip == CHIPS["v6e"]
    assert words == "Estimated from the public numbers of one v6e."


def test_what_was_measured_of_a_chip_is_in_the_pages_column(tmp_path):
    assert on_record("H100", "GD", tmp_path) == "not run"
    assert "H100.json" in kept("H100", ROWS, tmp_path / "measured")
    assert on_record("H100", "GD", tmp_path / "measured") == "100"
    assert on_record("H100", "mini-batch 32", tmp_path / "measured") == "not run"
    assert "nothing is kept" in kept(None, ROWS, tmp_path / "measured")
    assert [path.name for path in (tmp_path / "measured").iterdir()] == ["H100.json"]
