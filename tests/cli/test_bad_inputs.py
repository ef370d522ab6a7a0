"""Bad tables, options and places to write, given to the command: one line, and nothing written."""

import resource

import numpy as np
import pytest

from jaxgd.cli.wording import REMEDIES
from tests.test_floors import files

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
GOOD = {"a": X[:, 0], "b": X[:, 1], "y": (X[:, 0] > 0).astype(int)}


def with_cell(name, row, value):
    columns = {key: list(map(str, column)) for key, column in GOOD.items()}
    columns[name][row] = value
    return columns


def as_csv(columns):
    rows = zip(*(map(str, column) for column in columns.values()), strict=True)
    return "\n".join([",".join(columns), *map(",".join, rows)]) + "\n"


TABLES = {
    "2 inf": (
        with_cell("a", 3, "inf"),
        "column 'a' of t.csv has 1 infinite value, first in row 4.",
    ),
    "3 no label": (
        with_cell("y", 3, ""),
        "column 'y' of t.csv has 1 missing value, first in row 4.",
    ),
    "4 no rows": ("a,b,y\n", "t.csv has no rows."),
    "5 no features": ({"y": GOOD["y"]}, "a table needs at least one feature beside its target"),
    "11 one class": (GOOD | {"y": [1] * 60}, "at least two different values; column 'y' of t.csv"),
    "16 text": (with_cell("a", 3, "tall"), "holds text, first 'tall' in row 4."),
    "16 ragged": ("a,b,y\n1,2,0\n1,2,3,4\n", "line 3 has 4 fields, the header 3."),
    "16 empty": ("", "t.csv is empty."),
    "16 no table": ("\xff\xfe", "t.csv"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_told_in_one_line(jaxgd, tmp_path, name):
    table, message = TABLES[name]
    (tmp_path / "t.csv").write_text(table if isinstance(table, str) else as_csv(table))
    assert_refused(jaxgd("fit", "t.csv", "--model-file", "new/m.st", "--run", "r"), message)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


OPTIONS = {
    "12 values as classes": ("--target b --task multiclass", "Use --task regression."),
    "12 values as two": ("--target b --task binary", "Use --task multiclass or --task regression."),
    "16 no such column": (
        "--target zebra",
        "t.csv has no column 'zebra'. Its columns are 'a', 'b'",
    ),
    "28 batch size": ("--batch-size -1", "Full gradient descent is --batch-size all."),
    "31 no such optimizer": ("--optimizer zzzz", "sgd, sparse_adam; got 'zzzz'."),
    "31 the nearest": ("--optimizer adamm", "got 'adamm'. Use 'adam'?"),
    "32 seed": ("--seed 1099511627776", "seed must be an integer in [0, 2**32)"),
    "33 all held out": (
        "--held-out 0.999",
        "leaves 0 to train on and 60 held out. Use --held-out 0",
    ),
    "33 none held out": ("--held-out 0.001", "60 to train on and 0 held out. Use --held-out 0"),
    "patience": ("--patience 0", "patience must be an integer of at least 1"),
    "minimum change": (
        "--patience 2 --min-change nan",
        "min_change must be a number of at least 0",
    ),
    "no such place": ("--model-file /proc/x", "cannot write /proc/x: "),
    "a file for a folder": (
        "--model-file t.csv/m",
        "cannot write t.csv/m: t.csv is not a directory",
    ),
    "no such run": ("--run /proc/x", "cannot write /proc/x/history.jsonl: "),
    "a file for a run": ("--run t.csv", "t.csv is not a directory"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bad_option_is_told_in_one_line(jaxgd, tmp_path, name):
    options, message = OPTIONS[name]
    (tmp_path / "t.csv").write_text(as_csv(GOOD))
    target = [] if "--target" in options else ["--target", "y"]
    assert_refused(jaxgd("fit", "t.csv", *target, *options.split()), message)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def assert_refused(outcome, message):
    status, out, err = outcome
    assert (status, out) == (2, "")
    assert err.startswith("jaxgd: ")
    assert message in err
    assert err.count("\n") == 1
    assert "bug" not in err


@pytest.fixture
def small_files():
    """No file may grow beyond 4 KB, as on a disk that is all but full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("command", ["fit", "compare"])
def test_a_disk_without_room_is_found_before_training(jaxgd, tmp_path, command):
    (tmp_path / "t.csv").write_text(as_csv({name: column[:30] for name, column in GOOD.items()}))
    outcome = jaxgd(command, "t.csv", "--epochs", 10**9, "--batch-size", 8)
    assert_refused(outcome, ": File too large")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "t.csv"]


def test_missing_folders_are_made_by_every_command(jaxgd, tmp_path):
    (tmp_path / "t.csv").write_text(as_csv(GOOD))
    assert jaxgd("fit", "t.csv", "--epochs", 3, "--lr", 0.1, "--model-file", "a/b/m.st").status == 0
    assert jaxgd("predict", "a/b/m.st", "t.csv", "--out", "c/d/p.csv").status == 0
    assert (tmp_path / "c/d/p.csv").exists()


def test_40_a_table_of_another_width_and_no_advice_that_predict_has_not(jaxgd, tmp_path):
    (tmp_path / "t.csv").write_text(as_csv(GOOD))
    jaxgd("fit", "t.csv", "--epochs", 3, "--lr", 0.1)
    for columns, message in {
        "narrow": ({"b": GOOD["b"]}, "narrow.csv has no column 'a'. Its columns are 'b'."),
        "text": (
            with_cell("a", 3, "tall"),
            "'tall' in row 4, where the training table had numbers. ",
        ),
        "gaps": (with_cell("a", 3, ""), "first in row 4. Fill or drop them.\n"),
    }.items():
        table, told = message
        (tmp_path / f"{columns}.csv").write_text(as_csv(table))
        assert_refused(jaxgd("predict", "model.safetensors", f"{columns}.csv"), told)
    assert not (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("number", [2**60, 10**30])
def test_whole_numbers_that_are_rounded_are_told_once(jaxgd, tmp_path, number):
    columns = GOOD | {"big": [number * (1 + i % 5) for i in range(60)]}
    (tmp_path / "t.csv").write_text(as_csv(columns))
    status, out, err = jaxgd("fit", "t.csv", "--epochs", 3, "--lr", 0.1)
    assert status == 0
    assert err == (
        "jaxgd: column 'big' of t.csv holds whole numbers beyond 2**53, which are rounded to 53 "
        "bits. If they only name rows, leave the column out with --ignore.\n"
    )
    assert "y (0 or 1) from 3 features, computed in float32\n" in out


def test_every_remedy_is_still_one_that_is_given():
    sources = "".join(path.read_text() for path in files("jaxgd") if path.stem != "wording")
    joined = sources.replace('"\n', "").replace('f"', '"')
    spaceless = "".join(joined.split()).replace('"', "")
    missing = [remedy for remedy in REMEDIES if "".join(remedy.split()) not in spaceless]
    assert missing == []
