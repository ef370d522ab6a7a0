"""`jaxgd sweep`: real files in, pictures, a table and the next command out."""

import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxgd.cli.after_a_sweep import next_commands
from jaxgd.cli.as_json import plain
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.files import beside
from jaxgd.cli.sweep_report import Found, as_json, show
from jaxgd.study import Labelled, Sweep
from jaxgd.study.settings import settings_of


@pytest.fixture
def swept(jaxgd, flowers):
    """The command on a small grid of the flowers' table."""

    def run(*options):
        return jaxgd(
            "sweep", flowers, "--target", "kind", "--ignore", "id", "--seeds", 2, "--epochs", 2,
            "--batch-sizes", 16, 48, *options,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("hidden", [[], ["--hidden", 3]], ids=["linear", "mlp"])
def test_the_next_command_gives_what_the_sweep_has_promised(swept, jaxgd, tmp_path, hidden):
    rates = [*hidden, "--learning-rates", 0.01, 0.1, 1.0]
    status, out, err = swept(*rates, "--table", "t.parquet", "--json")
    told = json.loads(out)
    assert status == 0
    frame = pl.read_parquet("t.parquet")
    assert frame.columns == ["learning_rate", "batch_size", "seed", "epoch", "loss",
                             "validation_loss", "diverged"]  # fmt: skip
    assert len(frame) == 3 * 2 * 2 * 2
    best = told["best"]
    at = frame.filter(
        pl.col("learning_rate") == best["learning_rate"],
        pl.col("batch_size") == best["batch_size"],
        pl.col("epoch") == 2,
    )
    assert best["loss"] == pytest.approx(at["validation_loss"].mean(), rel=1e-6)
    assert best["loss"] == min(cell["loss"] for cell in told["settings"])
    for edge in best["edges"]:
        assert f"edge: {edge}=" in err
        assert "Widen it with --learning-rates or --batch-sizes." in err
    assert ("look_further" in told["next"]) == bool(best["edges"])
    for picture in ("heat-map.png", "curves.png"):
        assert (tmp_path / "jaxgd-sweep" / picture).read_bytes().startswith(b"\x89PNG")

    command = shlex.split(told["next"]["train_the_best"])
    assert command[:2] == ["jaxgd", "fit"]
    status, out, _ = jaxgd(*command[1:])
    assert status == 0
    held_out = next(line for line in out.splitlines() if line.startswith(" held-out"))
    seed_0 = at.filter(pl.col("seed") == 0)["validation_loss"].item()
    assert float(held_out.split()[1]) == pytest.approx(seed_0, abs=1e-4)


def test_the_screen_shows_the_grid_and_the_way_on(capsys, tmp_path):
    losses = np.array([[[0.5, 0.7], [0.8, 0.8]], [[0.3, 0.4], [np.nan, 0.1]]])
    axes = {"learning_rate": np.array([0.1, 0.2]), "batch_size": np.array([8, 16])}
    axes["seed"] = np.arange(2)
    labelled = Labelled(losses[..., None], {**axes, "epoch": np.array([1])})
    settings = settings_of({"learning_rate": [0.1, 0.2]}, (8, 16), 100)
    found = Sweep(labelled, None, Labelled(np.isnan(losses), axes), (), settings, 100)
    data = DataOptions(Path("a b.csv"), target="y", ignore=("id",), held_out=0.0, standardize=False)
    commands = next_commands(
        found, found.best, data, {"epochs": 1, "hidden": ()}, {"seeds": 2, "out": beside(tmp_path)}
    )
    told = Found(found, found.best, "training loss", commands, "")
    show(told, {"table": Path("t.csv")}, "about")
    out = capsys.readouterr().out
    assert "training loss, mean of 2 seeds, by learning rate and batch size" in out
    assert out.split("0.1 ")[1].split()[:2] == ["0.6", "0.8"]
    assert out.split("0.2 ")[1].split()[:2] == ["0.35", "diverged"]
    assert "best: learning rate 0.2, batch size 8: training loss 0.35 ± 0.071" in out
    about = "'a b.csv' --target y --ignore id --held-out 0.0 --no-standardize"
    assert commands == {
        "train the best": f"jaxgd fit {about} --learning-rate 0.2 --batch-size 8 --epochs 1",
        "look further": f"jaxgd sweep {about} --learning-rates 0.1 0.2 0.4 0.8 1.6 "
        f"--batch-sizes 1 2 4 8 16 --epochs 1 --seeds 2 --out {tmp_path}-2",
    }
    assert plain(as_json(told)["settings"][3]) == {
        "learning_rate": 0.2, "batch_size": 16, "loss": None, "spread": None, "diverged": 1,
    }  # fmt: skip


def test_where_every_setting_diverges_the_status_is_1(jaxgd, capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4))
    np.savez(tmp_path / "t.npz", x=x, y=x @ np.arange(4.0))
    grid = ["--learning-rates", 1e6, "--batch-sizes", 8, "--seeds", 1]
    with pytest.raises(SystemExit, match="1"):
        jaxgd("sweep", "t.npz", *grid)
    out, err = capsys.readouterr()
    assert "diverged" in out
    assert "batch size 8: alone" in out
    assert err.startswith("jaxgd: a setting must be finite with every seed to be the best")
    assert "Use smaller --learning-rates." in err
    assert "train the best" not in out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--epochs", 0], "epochs must be an integer of at least 1"),
        (["--seeds", 0], "seeds must be an integer of at least 1"),
        (["--learning-rates", -1], "learning_rate must be finite and greater than 0"),
        (["--batch-sizes", 500], "Use smaller --batch-sizes."),
        (["--table", "t.xlsx"], "a table must be a .csv, .parquet or .jsonl file, or - for"),
    ],
)
def test_what_cannot_be_swept_is_told_in_a_line(swept, options, told):
    status, out, err = swept(*options)
    assert (status, out) == (2, "")
    assert told in err
