"""`jaxgd fit` on a table as people have them: what is said of it, and what it does no harm with."""

import datetime
import io
import re
import sys

import numpy as np
import polars as pl
import pytest

from jaxgd.tabular import load_model

RNG = np.random.default_rng(0)
N = 200


@pytest.fixture
def people(tmp_path):
    """Names of rows, missing values, texts, dates, and few who answered."""
    age = RNG.integers(18, 80, N)
    frame = pl.DataFrame(
        {
            "": np.arange(N),
            "customer_id": RNG.permutation(N) + 1000,
            "age": [None if i % 9 == 0 else int(a) for i, a in enumerate(age)],
            "town": np.array(["Bonn", "Cork", "Graz"])[RNG.integers(3, size=N)],
            "since": [datetime.date(2020, 1, 1) + datetime.timedelta(int(d)) for d in age],
            "country": ["X"] * N,
            "weight": RNG.random(N),
            "answer": np.where(age > 71, "yes", "no"),
        }
    )
    frame.write_csv(tmp_path / "people.csv")
    return tmp_path / "people.csv"


FIT = ("--target", "answer", "--optimizer", "adam", "--learning-rate", 0.03)


@pytest.fixture
def told(jaxgd, people):
    """The lines that a fit prints."""
    status, out, err = jaxgd("fit", people, *FIT)
    assert (status, err) == (0, "")
    return out.splitlines()


def test_what_was_made_of_a_table_and_how_well_is_said(told):
    assert told[0].endswith("people.csv: 160 rows to train on, 40 held out")
    assert told[1].startswith("answer (no or yes) from 11 features")
    assert told[2:6] == [
        "binary: it has two different values",
        "columns: 2 numbers, 1 category, 1 date",
        "missing values marked and filled in: age",
        "dropped: 'unnamed' is a number of its own in every row: an id (--id 'unnamed' carries "
        "it along)",
    ]
    assert told[6].startswith("dropped: 'customer_id' is a number")
    assert told[7] == "dropped: 'country' is the same in every row"
    assert "% of the rows are 'no': judge by more than the accuracy. --class-weight" in told[8]
    rows = [line.split() for line in told]
    constant = next(row for row in rows if row[:1] == ["constant"])
    assert constant[2] == "0.5000"  # AUC
    assert next(row for row in rows if row[:1] == ["held-out"])
    no = next(row for row in rows if row[:1] == ["no"])
    yes = next(row for row in rows if row[:1] == ["yes"])
    assert int(no[1]) + int(yes[1]) == 40
    assert sum(map(int, no[-2:])) == int(no[1])


def test_weights_change_what_is_learned_and_are_recorded(jaxgd, people, tmp_path):
    found = []
    for options in (("--class-weight", "balanced"), ("--sample-weight", "weight")):
        status, out, _ = jaxgd("fit", people, *FIT, *options)
        assert status == 0
        assert "by adam, rows weighed" in out
        found.append(load_model(tmp_path / "model.safetensors"))
    balanced, by_column = found
    assert balanced.training["class_weight"] == "balanced"
    assert by_column.training["sample_weight"] == "weight"
    assert "weight" in balanced.schema.features
    assert "weight" not in by_column.schema.features


def test_rows_are_held_out_by_group_or_time(jaxgd, people):
    fit = "fit", people, *FIT
    status, out, _ = jaxgd(*fit, "--group", "town")
    assert status == 0
    assert "columns: 2 numbers, 1 date" in out  # and no town
    _, _, err = jaxgd(*fit, "--time", "since")  # the oldest came last, two of them on one day
    assert re.search(r"must hold both classes; its 1\d\d rows are all 'no'", err)
    _, _, err = jaxgd(*fit, "--group", "town", "--time", "since")
    assert err == "jaxgd: rows are held out by groups or by time; got a column for each.\n"


def test_a_batch_larger_than_the_rows_is_the_rows(jaxgd, tmp_path, monkeypatch):
    """And a table may come from standard input, a model be there already."""
    x = np.linspace(-1, 1, 10)
    small = pl.DataFrame({"x": x, "label": (x > 0).astype(int)}).write_csv().encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(small)))
    (tmp_path / "model.safetensors").write_bytes(b"")
    status, out, _ = jaxgd(
        "fit", "-", "--optimizer", "sgd", "--lr", 0.05, "--epochs", 30, "--force"
    )
    assert status == 0
    assert out.startswith("standard input: 8 rows to train on, 2 held out\n")
    assert "30 updates by sgd" in out
    assert load_model(tmp_path / "model.safetensors").training["batch_size"] == 8


def test_many_bad_columns_are_one_error_with_the_words_to_copy(jaxgd, people):
    frame = pl.read_csv(people)
    notes = pl.Series("a note", [f"what was said, {i}" for i in range(N)])
    names = pl.Series("full name", [f"Ada No {i}" for i in range(N)])
    frame.with_columns(notes, names).write_csv(people)
    status, _, err = jaxgd("fit", people, "--target", "answer")
    assert status == 2
    assert err.endswith("Convert them, or leave them out: --ignore 'a note' 'full name'.\n")


def test_letters_as_numbers_ask_for_the_task(jaxgd, tmp_path):
    pl.DataFrame({"x": RNG.normal(size=260), "y": np.arange(260) % 26}).write_csv("l.csv")
    status, _, err = jaxgd("fit", "l.csv")
    assert status == 2
    assert err.endswith("Use --task multiclass or --task regression.\n")


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_ids_stand_before_the_predictions_as_the_file_has_them(jaxgd, tmp_path, name):
    codes = [f"{i:03}" for i in range(60)]
    frame = pl.DataFrame({"code": codes, "x": np.arange(60.0), "y": ["no", "yes"] * 30})
    frame.with_columns(y=frame["x"] > 30).write_csv(tmp_path / "t.csv")
    assert jaxgd("fit", "t.csv", "--target", "y", "--id", "code", "--lr", 0.5).status == 0
    assert jaxgd("predict", "model.safetensors", "t.csv", "--out", name).status == 0
    if name == "p.csv":
        found = pl.read_csv(tmp_path / name, infer_schema=False)
    else:
        found = pl.read_ndjson(tmp_path / name)
    assert found.columns[:2] == ["code", "y"]
    assert found["code"].to_list() == codes
