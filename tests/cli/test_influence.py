"""`jaxgd influence`: a table in, its harmful and helpful rows out, and how far to believe it."""

import json
import re
import shlex

import polars as pl
import pytest

pytestmark = pytest.mark.usefixtures("quick_compile")

OPTIONS = ["--target", "kind", "--ignore", "id", "--batch-size", None, "--learning-rate", 1]


@pytest.fixture
def mislabelled(flowers, tmp_path):
    """The flowers, three plain cases of them labelled wrongly."""
    frame = pl.read_csv(flowers)
    signal = (frame["mass kg"] - 3e-6) / 1e-6 + (frame["area mm²"] - 2e6) / 1e6
    plain = signal.abs().arg_sort(descending=True).to_list()[:3]
    kinds = frame["kind"].to_list()
    for i in plain:
        kinds[i] = "fern" if kinds[i] == "rose" else "rose"
    frame.with_columns(pl.Series("kind", kinds)).write_csv(tmp_path / "wrong.csv")
    return [i + 1 for i in plain]


def test_the_rows_the_correlation_and_the_command_to_run_next(jaxgd, mislabelled):
    status, out, err = jaxgd("influence", "wrong.csv", *OPTIONS, "--top", 6)
    assert (status, err) == (0, "")
    assert "240 rows to train on, 60 held out" in out
    told = re.search(r"rank correlation .*: (.*), of 240 trainings without a row", out)
    assert float(told[1]) > 0.95
    frame = pl.read_csv("jaxgd-influence/influence.csv")
    assert frame.columns == ["row", "kind", "foretold", "measured"]
    assert len(frame) == 240
    worst = frame.sort("foretold")["row"].to_list()
    wrong = set(mislabelled) & set(worst)
    assert wrong
    assert wrong <= set(worst[:6])
    harmful = out.split("most harmful")[1].split("most helpful")[0]
    shown = [line.split() for line in harmful.splitlines()]
    assert [int(words[1]) for words in shown if words and words[0].isdigit()] == worst[:6]
    following = shlex.split(out.splitlines()[-1].removeprefix("train it: "))
    assert following[:3] == ["jaxgd", "fit", "wrong.csv"]
    status, out, _ = jaxgd(*following[1:])
    assert status == 0
    assert "updates by sgd, learning rate 1:" in out


def test_json_and_parquet_hold_what_is_shown(jaxgd, mislabelled):
    more = ["--retrain", 12, "--table", "i.parquet", "--json", "--no-standardize"]
    status, out, err = jaxgd("influence", "wrong.csv", *OPTIONS, *more)
    assert (status, err) == (0, "")
    told, frame = json.loads(out), pl.read_parquet("i.parquet")
    assert told["rows"] == len(frame) == 240
    assert told["trainings_without_a_row"] == frame["measured"].count() == 12
    assert -1 <= told["rank_correlation"] <= 1
    harmful = frame.sort("foretold").to_dicts()[0]
    assert told["most_harmful"][0] == harmful
    (command,) = told["next"].values()
    assert "--no-standardize" in command
    assert told["files"] == {"table": "i.parquet"}
    assert told["held_bytes"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--held-out", 0], "influence is on the held-out loss; got --held-out 0."),
        (["--table", "i.txt"], "a table must be a .csv, .parquet or .jsonl file, or - for"),
        (["--top", 0], "top must be an integer of at least 1; got top=0."),
        (["--table", "wrong.csv"], "an output must not replace an input; got wrong.csv for both."),
    ],
)
def test_mistakes_are_told_in_one_line(jaxgd, mislabelled, tmp_path, options, message):
    before = set(tmp_path.iterdir())
    status, out, err = jaxgd("influence", "wrong.csv", *OPTIONS, *options)
    _is_told(status, out, err, message)
    assert set(tmp_path.iterdir()) == before


def test_a_run_that_diverges_is_told_in_one_line(jaxgd, mislabelled, tmp_path):
    before = set(tmp_path.iterdir())
    options = ["--target", "area mm²", "--ignore", "id", "kind", "--batch-size", None]
    status, out, err = jaxgd("influence", "wrong.csv", *options, "--learning-rate", 1000)
    _is_told(status, out, err, "the validation loss after the run is ")
    assert err.endswith("Use a smaller --learning-rate.\n")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "jaxgd-influence"}
    assert not any((tmp_path / "jaxgd-influence").iterdir())


def _is_told(status, out, err, message):
    assert (status, out) == (2, "")
    assert err.startswith(f"jaxgd: {message}")
    assert err.count("\n") == 1
