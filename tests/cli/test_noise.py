"""`jaxgd noise`: the figures, the files, and a next command that runs."""

import json
import shlex

import numpy as np
import polars as pl
import pytest

from jaxgd.cli import noise_measured

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = (x @ np.arange(1.0, 4) + 2 * rng.normal(size=50) > 0).astype(int)
    np.savez(tmp_path / "t.npz", x=x, y=y)


@pytest.mark.usefixtures("table")
def test_it_measures_draws_and_says_what_to_run_next(jaxgd, tmp_path):
    given = ["noise", "t.npz", "--batch-size", 8, "--epochs", 4, "--json"]
    status, out, err = jaxgd(*given)
    assert (status, err) == (0, "")
    found = json.loads(out)
    after = found["after_last_epoch"]
    scale = after["noise_scale"]
    assert scale["low"] < scale["value"] < (scale["high"] or np.inf)
    assert set(after["leaves"]) == {".w", ".b"}
    total = sum(leaf["trace"]["value"] for leaf in after["leaves"].values())
    np.testing.assert_allclose(total, after["trace"]["value"], rtol=1e-5)
    assert found["geometry"] == "Euclidean"
    assert found["critical_batch_size"]["batch_sizes"] == [2, 8, 40]
    assert found["verdict"]["told"].startswith("critical batch size ")
    written = pl.read_csv(tmp_path / "jaxgd-noise" / "noise.csv")
    assert written["epoch"].to_list() == [1, 2, 3, 4]
    np.testing.assert_allclose(written["loss"], found["epochs"]["loss"])
    for name in ("batch-scatter.png", "critical-batch-size.png"):
        assert (tmp_path / "jaxgd-noise" / name).read_bytes().startswith(b"\x89PNG")
    assert found["files"]["table"] == "jaxgd-noise/noise.csv"
    program, *following = shlex.split(found["next"]["train_at_that_size"])
    assert program == "jaxgd"
    assert jaxgd(*following).status == 0


@pytest.mark.usefixtures("table")
def test_adam_is_told_that_its_norm_is_another(jaxgd, tmp_path):
    given = "noise t.npz --batch-size 8 --epochs 2 --optimizer adam --no-critical --table n.parquet"
    status, out, err = jaxgd(*given.split())
    assert (status, err) == (0, "")
    assert "… preconditioned as adam" in " ".join(out.split())
    assert "This optimizer is not Euclidean" in out
    assert "train at that size: jaxgd fit t.npz --learning-rate 0.05 --batch-size" in out
    assert max(map(len, out.splitlines()[:12])) <= 80
    assert pl.read_parquet(tmp_path / "n.parquet").height == 2
    assert [file.name for file in (tmp_path / "jaxgd-noise").iterdir()] == ["batch-scatter.png"]


@pytest.mark.usefixtures("table")
def test_sizes_that_never_arrive_are_named_and_the_rest_is_shown(jaxgd, tmp_path, monkeypatch):
    """The runs may make one update more than the largest size makes to set the loss to reach."""
    monkeypatch.setattr(noise_measured, "_LONGEST", 17)
    status, out, err = jaxgd("noise", "t.npz", "--batch-size", 8, "--epochs", 2)
    assert (status, err) == (0, "")
    assert out.count("never") == 2
    assert "A batch of 2, 8 did not reach the training loss" in out
    assert "Fewer than 3 sizes reached it: the critical batch size is not known." in out
    assert "train at that size: jaxgd fit t.npz --learning-rate" in out
    assert (tmp_path / "jaxgd-noise" / "critical-batch-size.png").exists()


def test_too_few_rows_for_runs_of_three_sizes_are_told_before_any(jaxgd, tmp_path):
    np.savez(tmp_path / "few.npz", x=np.arange(22.0).reshape(11, 2), y=np.arange(11.0))
    status, _, err = jaxgd("noise", "few.npz", "--held-out", 0, "--batch-size", 2)
    assert status == 2
    assert "needs at least 12 rows, for runs of 3 sizes; got n=11. Use --no-critical" in err
    assert not (tmp_path / "jaxgd-noise").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            "--epochs 1",
            "noise is measured over at least 2 epochs of batches of at least 2 rows;",
        ),
        ("--batch-size 30", "an epoch must have at least 2 batches; got batch_size=30 with n=40."),
        ("--learning-rate 0", "learning_rate must be finite and greater than 0; got learning_rate"),
    ],
)
@pytest.mark.usefixtures("table")
def test_what_cannot_be_measured_is_said_in_one_line(jaxgd, tmp_path, args, message):
    status, out, err = jaxgd("noise", "t.npz", *args.split())
    assert (status, out) == (2, "")
    assert err.startswith(f"jaxgd: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "jaxgd-noise").exists()
