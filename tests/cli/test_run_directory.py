"""`jaxgd fit --run`, `--config`, `--json` and `jaxgd report`: a run read months later."""

import hashlib
import json
import re
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxgd.cli.__main__ import main
from jaxgd.cli.config_file import with_config
from jaxgd.cli.page_of_a_run import tenths
from jaxgd.cli.parsing import read
from jaxgd.cli.run_files import FILES
from jaxgd.cli.words import in_order
from jaxgd.tabular import load_model

N = 120
TARGETS = ("mass", "kind", "zone")
SVG = "{http://www.w3.org/2000/svg}"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a table, and a run on each kind of target in it."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    height = rng.normal(30, 10, N)
    frame = pl.DataFrame(
        {
            "plant_id": np.arange(N) + 7,
            "height <cm>": [None if i % 9 == 0 else x for i, x in enumerate(height)],
            "mass": 5 + height / 3,
            "kind": np.where(height > 30, "tree & shrub", "herb"),
            "zone": np.digitize(height, [25, 35]),
        }
    )
    frame.write_csv(folder / "plants.csv")
    for target in TARGETS:
        others = sorted({*TARGETS} - {target})
        fit = ["fit", folder / "plants.csv", "--target", target, "--ignore", *others, "--lr", 0.1]
        fit += ["--epochs", 3, "--patience", 2, "--run", folder / target, "--quiet"]
        assert main([str(w) for w in [*fit, "--model-file", folder / f"{target}.st"]]) == 0
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_a_page_opens_offline_and_tells_what_the_metrics_are(runs, target):
    run = runs / target
    assert {path.name for path in run.iterdir()} >= {*FILES, "history.jsonl", "figures"}
    assert (run / "model.safetensors").read_bytes() == (runs / f"{target}.st").read_bytes()
    metrics = json.loads((run / "metrics.json").read_bytes())
    text = (run / "report.html").read_text()
    root = ET.fromstring(text[text.index("<body") : text.index("</html>")])
    outside = re.findall(r"(?:https?:)?//[^\s\"'<]+|\b(?:src|href)=|@import|url\(", text)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}  # a name, and no place that is visited
    tables = {t.find("caption").text: _rows(t) for t in root.iter("table")}

    measured = tables["Measures, and those of a constant prediction"]
    for row, part in zip(measured[1::2], ("training", "held_out"), strict=True):
        told = metrics["metrics"][part].values()
        assert row[1:] == ["–" if v is None else f"{v:#.4g}".rstrip(".") for v in told]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    ends = [row[1] for row in tables["Losses after each epoch"][1:]]
    assert ends == [f"{entry['loss']:#.4g}" for entry in history]
    if target != "mass":
        cells = [int(t.text) for t in _svg(root, "As what").iter(f"{SVG}text") if t.text.isdigit()]
        counted = [n for told in metrics["classes"].values() for n in told["predicted"].values()]
        names = [int(name) for name in metrics["classes"] if name.isdigit()]
        assert sorted(cells) == sorted([*counted, *names, *names])
    model = load_model(run / "model.safetensors")
    learned = tables["Coefficients of the scaled features, the largest first"]
    assert {row[0] for row in learned[1:]} == {*model.schema.features, "intercept"}
    svgs = [svg.get("aria-label") for svg in root.iter(f"{SVG}svg")]
    assert len(svgs) == len(set(svgs)) == len(list((run / "figures").iterdir())) == 4
    for path in (run / "figures").iterdir():
        assert path.read_text().strip() in text


def _rows(table):
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def _svg(root, begins):
    return next(s for s in root.iter(f"{SVG}svg") if s.get("aria-label").startswith(begins))


def test_a_config_repeats_a_fit_byte_for_byte_and_the_command_line_wins(jaxgd, runs):
    again = "fit", "--config", runs / "kind" / "config.toml", "--model-file", "again.st"
    status, out, err = jaxgd(*again, "--json")
    assert (status, err) == (0, "")
    assert Path("again.st").read_bytes() == (runs / "kind.st").read_bytes()
    metrics = json.loads((runs / "kind" / "metrics.json").read_bytes())
    own = {"model", "seconds"}
    assert {k: v for k, v in json.loads(out).items() if k not in own} == {
        k: v for k, v in metrics.items() if k not in own
    }
    assert jaxgd(*again, "--seed", 1, "--run", "seed", "--quiet") == (0, "", "")
    made = tomllib.loads(Path("seed/config.toml").read_text())
    was = tomllib.loads((runs / "kind" / "config.toml").read_text())
    assert made["fit"] == was["fit"] | {"seed": 1}
    assert made["made"] == was["made"]
    digest = hashlib.sha256((runs / "plants.csv").read_bytes()).hexdigest()
    assert made["made"]["data-sha256"] == digest


def test_other_data_and_other_versions_are_told(jaxgd, runs, tmp_path):
    config = (runs / "mass" / "config.toml").read_text()
    (tmp_path / "old.toml").write_text(re.sub('jax = ".*"', 'jax = "0.1"', config))
    pl.read_csv(runs / "plants.csv").head(100).write_csv("fewer.csv")
    status, out, err = jaxgd("fit", "fewer.csv", "--config", "old.toml", "--quiet")
    assert (status, out) == (0, "")
    told = err.splitlines()
    assert told[0].startswith("jaxgd: the data are not those of old.toml, whose bytes have")
    assert "(was 0.1): the model may differ from that of old.toml in its last bits." in told[1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["t.csv", "--no-standardize", "--ignore", "a", "--lr=0.1", "--batch-size=all"]),
        (["u.csv", "--lr", "1"], ["--no-standardize", "--ignore", "a", "--batch-size=all"]),
        (["--ignore", "b", "u.csv"], ["--no-standardize", "--lr=0.1", "--batch-size=all"]),
        (["--standardize", "--batch-size=8"], ["t.csv", "--ignore", "a", "--lr=0.1"]),
        (["--learning_rate=1"], ["t.csv", "--no-standardize", "--ignore", "a", "--batch-size=all"]),
    ],
)
def test_what_is_said_on_the_command_line_is_not_taken_from_the_config(tmp_path, words, found):
    (tmp_path / "c.toml").write_text(
        '[fit]\ndata = "t.csv"\nstandardize = false\nignore = ["a"]\nlr = 0.1\n'
        'batch-size = "all"\nhidden = []\n'
    )
    config = ["--config", str(tmp_path / "c.toml")]
    made = with_config(in_order([*words, *config]))
    assert sorted(made) == sorted([*in_order(words), *config, *found])
    assert callable(read(["fit", *words, *config]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("seed = 1", "a config has its options under [fit]; c.toml has none there."),
        ("[fit", "a config must be TOML in UTF-8; c.toml is not: "),
        ("[fit]\nzebra = 1", "Unrecognized options: --zebra=1. See jaxgd fit --help."),
        ('[fit]\nepochs = "many"', "--epochs"),
    ],
)
def test_a_config_that_is_none_is_refused(jaxgd, tmp_path, content, told):
    (tmp_path / "c.toml").write_text(content)
    status, _, err = jaxgd("fit", "--config", "c.toml")
    assert status == 2
    assert err.startswith("jaxgd: ")
    assert told in err


def test_the_first_lines_come_before_training_and_json_is_alone(jaxgd, runs):
    fit = "fit", runs / "plants.csv", "--target", "kind", "--ignore", "mass", "zone"
    status, out, _ = jaxgd(*fit, "--lr", 1e36, "--no-standardize")
    assert status == 2
    assert out.splitlines()[-1].startswith("baseline: a constant prediction has loss 0.69")
    assert "dropped: 'plant_id'" in out
    assert "dropped" not in jaxgd(*fit, "--lr", 1e36, "--no-standardize", "--json").out
    told = json.loads((runs / "kind" / "metrics.json").read_bytes())
    assert told["features"] == {"height <cm>": "number"}
    assert told["dropped"].keys() == {"plant_id"}
    assert (told["task"], told["target"], told["rows"]) == ("binary", "kind", N)
    assert told["stopped"] in ("epochs", "patience")
    assert told["baseline"]["held_out"]["AUC"] == 0.5
    assert told["model"] == str(runs / "kind.st")
    assert told["seconds"] > 0


def test_runs_are_compared_in_one_page(jaxgd, runs):
    status, out, err = jaxgd("report", runs / "kind", runs / "zone", runs / "kind")
    assert (status, out, err) == (0, "page of 3 runs: report.html\n", "")
    text = Path("report.html").read_text()
    root = ET.fromstring(text[text.index("<body") : text.index("</html>")])
    tables = {t.find("caption").text: _rows(t) for t in root.iter("table")}
    assert tables["Settings, versions and data that differ"] == [
        ["", "kind (1)", "zone", "kind (2)"],
        ["target", "kind", "zone", "kind"],
        ["ignore", "mass zone", "kind mass", "mass zone"],
    ]
    rows = tables["Loss: training, afterwards"]
    assert [row[0] for row in rows] == ["run", "kind (1)", "zone", "kind (2)"]
    assert rows[1][1:] == rows[3][1:] != rows[2][1:]
    status, _, err = jaxgd("report", runs / "kind", runs / "zone")
    assert (status, "report.html is there already" in err) == (2, True)
    assert "a comparison is of two runs or more" in jaxgd("report", runs / "kind").err
    assert "No such file" in jaxgd("report", runs / "kind", runs, "--out", "other.html").err


def test_tenths_hold_all_rows_in_order():
    parts = tenths(np.array([0.3, 0.1, 0.2] * 5), np.arange(15.0))
    assert sum(part.rows for part in parts) == 15
    assert [part.predicted for part in parts] == sorted(part.predicted for part in parts)
    assert sum(part.rows * part.found for part in parts) == pytest.approx(sum(range(15)))


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
def test_a_browser_shows_the_page_and_asks_for_nothing(runs, tmp_path):
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
    ]
    page = runs / "zone" / "report.html"
    command += ["--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout.count("<svg") == done.stdout.count("</svg>") == 4
    assert not re.search(r"CONSOLE|Failed to load", done.stderr)


def test_a_directory_that_is_no_run_keeps_its_files(jaxgd, runs, tmp_path):
    fit = "fit", runs / "plants.csv", "--target", "kind", "--ignore", "mass", "zone", "--lr", 0.1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    status, _, err = jaxgd(*fit, "--run", "mine", "--resume")
    assert (status, "mine/report.html is there already. Name another" in err) == (2, True)
    assert (tmp_path / "mine" / "report.html").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "figures").write_text("mine")
    assert "other/figures is not a directory" in jaxgd(*fit, "--run", "other").err
    assert not (tmp_path / "model.safetensors").exists()
    told = jaxgd("fit", runs / "plants.csv", "--target", "kind", "--run", runs / "kind").err
    assert "has some. Use --resume to go on from the newest" in told


def test_rows_to_stop_by_are_counted_named_and_kept(jaxgd, runs, tmp_path):
    fit = "fit", runs / "plants.csv", "--target", "kind", "--ignore", "mass", "zone", "--lr", 0.1
    status, out, _ = jaxgd(*fit, "--valid", 0.25, "--epochs", 2, "--run", "part")
    assert status == 0
    assert out.splitlines()[0].endswith(": 72 rows to train on, 24 held out, 24 to stop by")
    metrics = json.loads((tmp_path / "part" / "metrics.json").read_bytes())
    assert (metrics["rows"], metrics["set_aside"], metrics["watched"]) == (N, 24, "validation")
    page = (tmp_path / "part" / "report.html").read_text()
    assert "of the validation rows afterwards" in page
    assert "trained on 72 rows, 24 held out, 24 to stop by." in page
    shutil.copy(runs / "plants.csv", "judges.csv")
    before = Path("judges.csv").read_bytes()
    status, _, err = jaxgd(*fit, "--valid", "judges.csv", "--model-file", "judges.csv", "--force")
    assert (status, "an output must not replace an input" in err) == (2, True)
    assert Path("judges.csv").read_bytes() == before
