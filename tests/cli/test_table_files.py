"""Tables that commands write: as their name says, to standard output, and over nothing."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxgd.cli.predictions import predictions_file
from jaxgd.cli.terminal import figure
from jaxgd.tabular import Target

ROOT = Path(__file__).parents[2]
MANY = Target("kind, of", "multiclass", ("a", 'b"c', "", "d,e"))
RNG = np.random.default_rng(0)


def by_the_csv_module(target, predictions):
    """As it was written, a cell at a time."""
    import csv

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    if target.task == "regression":
        rows.writerow([target.name])
        rows.writerows([value] for value in predictions.tolist())
    else:
        rows.writerow([target.name, *(f"probability {name}" for name in target.classes)])
        rows.writerows(
            [target.classes[i], *(f"{p:.6g}" for p in row)]
            for i, row in zip(predictions.argmax(axis=1), predictions.tolist(), strict=True)
        )
    return text.getvalue().encode()


@pytest.mark.parametrize("rows", [1, 5, 70_000])
def test_a_csv_of_predictions_has_the_bytes_of_the_csv_module(rows):
    shares = RNG.dirichlet([1e-2, 1, 1, 1], rows).astype(np.float32)
    values = RNG.normal(size=rows) * 10.0 ** RNG.integers(-300, 300, rows)
    for target, predictions in ((MANY, shares), (Target("x", "regression"), values)):
        written = predictions_file(target, predictions, Path("p.csv"))
        assert written == by_the_csv_module(target, predictions)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_predictions_are_what_their_name_says(suffix):
    shares = RNG.dirichlet([1, 1, 1, 1], 4).astype(np.float32)
    target = Target("kind, of", "multiclass", ("a", "b c", "", "d,e"))
    content = predictions_file(target, shares, Path(f"p{suffix}"))
    readers = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}
    frame = readers[suffix](io.BytesIO(content))
    assert frame.columns == [target.name, *(f"probability {name}" for name in target.classes)]
    found = frame[:, 1:].to_numpy()
    np.testing.assert_allclose(found, shares, rtol=1e-5 if suffix == ".csv" else 1e-7)


@pytest.fixture
def model(jaxgd, flowers):
    fit = ["fit", flowers, "--target", "kind", "--ignore", "id", "--epochs", 1]
    assert jaxgd(*fit, "--learning-rate", 0.5).status == 0
    return "model.safetensors"


def test_nothing_is_replaced_unless_it_is_forced(jaxgd, flowers, model, tmp_path):
    out = tmp_path / "predictions.csv"
    out.write_text("precious")
    predict = ["predict", model, flowers]
    status, told, err = jaxgd(*predict)
    assert (status, told) == (2, "")
    assert err == (
        "jaxgd: predictions.csv is there already. Name another file with --out, or replace it "
        "with --force.\n"
    )
    assert out.read_text() == "precious"
    assert jaxgd(*predict, "--force").status == 0
    assert len(out.read_text().splitlines()) == 301
    status, _, err = jaxgd("export", model, "--out", "predictions.csv")
    assert (status, err.count("--force")) == (2, 1)


def test_standard_output_has_the_table_and_nothing_else(jaxgd, flowers, model, tmp_path):
    assert jaxgd("predict", model, flowers, "--out", "p.csv").status == 0
    command = ["-m", "jaxgd", "predict", model, str(flowers), "--out", "-"]
    done = run(command, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "p.csv").read_text()
    reads, writes = os.pipe()
    os.close(reads)
    done = run(command, tmp_path, stdout=writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


def run(command, folder, stdout=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_another_suffix_is_refused_before_anything_is_read(jaxgd, flowers, tmp_path):
    (tmp_path / "m.st").write_text("no model")
    status, _, err = jaxgd("predict", "m.st", flowers, "--out", "p.xlsx")
    assert status == 2
    assert err == (
        "jaxgd: a table must be a .csv, .parquet or .jsonl file, or - for standard output; got "
        "'p.xlsx'. Name another with --out.\n"
    )


def test_a_fit_may_be_made_again_but_replaces_no_other_file(jaxgd, flowers, model, tmp_path):
    file = tmp_path / model
    fit = ["fit", flowers, "--epochs", 1, "--learning-rate", 0.5, "--target"]
    assert jaxgd(*fit, "kind", "--ignore", "id", "--seed", 1).status == 0
    assert jaxgd(*fit, "kind", "--ignore", "id", "mass kg").status == 0
    assert jaxgd(*fit, "kind", "--ignore", "id").status == 0
    before = file.read_bytes()
    status, _, err = jaxgd(*fit, "mass kg", "--ignore", "id", "kind")
    assert status == 2
    assert err == (
        "jaxgd: model.safetensors is a model of 'kind' from other columns. Name another file with "
        "--model-file, or replace it with --force.\n"
    )
    assert file.read_bytes() == before
    file.write_bytes(b"something else")
    assert "is no model of this jaxgd" in jaxgd(*fit, "kind", "--ignore", "id").err
    assert file.read_bytes() == b"something else"
    assert jaxgd(*fit, "kind", "--ignore", "id", "--force").status == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9, "0.9000"),
        (0.98245, "0.9825"),
        (1e-5, "1.000e-05"),
        (0.000123456, "0.0001235"),
        (1234.5, "1234"),
        (1e34, "1.000e+34"),
        (0.0, "0.000"),
        (float("nan"), "–"),
    ],
)
def test_a_figure_has_four_digits_whatever_its_size(value, shown):
    assert figure(value) == shown


def test_as_jsonl_a_row_is_a_line(tmp_path):
    content = predictions_file(Target("x", "regression"), np.array([1.5, 2.0]), Path("p.jsonl"))
    assert [json.loads(line) for line in content.splitlines()] == [{"x": 1.5}, {"x": 2.0}]
