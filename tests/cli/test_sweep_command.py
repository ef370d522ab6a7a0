"""`jaxgd sweep`: real files in, pictures, a table and the next command out."""

import json
import shlex

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def swept(jaxgd, flowers):
    """The command on a small grid of the flowers' table."""

    def run(*options):
        return jaxgd(
            "sweep", flowers, "--target", "kind", "--ignore", "id", "--seeds", 2, "--epochs", 2,
            "--batch-sizes", 16, 48, *options,
        )  # fmt: skip

    return run


def test_the_next_command_gives_what_the_sweep_has_promised(swept, jaxgd, tmp_path):
    rates = ["--learning-rates", 0.01, 0.1, 1.0]
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
    assert ("look further" in told["next"]) == bool(best["edges"])
    for picture in ("heat-map.png", "curves.png"):
        assert (tmp_path / "jaxgd-sweep" / picture).read_bytes().startswith(b"\x89PNG")

    command = shlex.split(told["next"]["train the best"])
    assert command[:2] == ["jaxgd", "fit"]
    status, out, _ = jaxgd(*command[1:])
    assert status == 0
    held_out = next(line for line in out.splitlines() if line.startswith(" held-out"))
    seed_0 = at.filter(pl.col("seed") == 0)["validation_loss"].item()
    assert float(held_out.split()[1]) == pytest.approx(seed_0, abs=1e-4)


def test_the_screen_shows_the_grid_and_the_way_on(swept, jaxgd):
    status, out, err = swept("--learning-rates", 1e-4, 1e-3, "--held-out", 0)
    assert status == 0
    assert "learning_rate=0.001 is the largest tried" in err
    assert "batch size 16, 48: by micro-batches of 16" in out
    assert "training loss, mean of 2 seeds, by learning rate and batch size" in out
    assert "best: learning rate 0.001, batch size 16: training loss" in out
    further = next(line for line in out.splitlines() if line.startswith("look further: "))
    words = shlex.split(further.removeprefix("look further: jaxgd "))
    assert "--learning-rates 0.0001 0.001 0.01 0.1 1 --batch-sizes" in " ".join(words)
    assert {"--target", "--ignore", "--held-out"} <= set(words)
    assert pl.read_csv("jaxgd-sweep/sweep.csv")["loss"].is_finite().all()


def test_where_every_setting_diverges_the_status_is_1(jaxgd, capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4))
    np.savez(tmp_path / "t.npz", x=x, y=x @ np.arange(4.0))
    grid = ["--learning-rates", 1e6, "--batch-sizes", 8, "--seeds", 1]
    with pytest.raises(SystemExit, match="1"):
        jaxgd("sweep", "t.npz", *grid)
    out, err = capsys.readouterr()
    assert "diverged" in out
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
        (["--table", "t.xlsx"], "the table must be a .csv or .parquet file; got t.xlsx."),
    ],
)
def test_what_cannot_be_swept_is_told_in_a_line(swept, options, told):
    status, out, err = swept(*options)
    assert (status, out) == (2, "")
    assert told in err
