"""`jaxgd fit` and `jaxgd predict`: real files in, a model and predictions out."""

import csv
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxgd.tabular.model_file import load_model

# Settings of a short and plain run.
PLAIN = ["--optimizer", "sgd", "--learning-rate", 0.05, "--epochs", 20]


def predictions(path="predictions.csv"):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy(out, part):
    return float(next(line for line in out.splitlines() if line.startswith(f" {part}")).split()[-1])


def test_columns_of_very_different_scale_train_without_fuss(jaxgd, flowers):
    status, out, err = jaxgd("fit", flowers, "--target", "kind", "--ignore", "id")
    assert (status, err) == (0, "")
    assert "240 rows to train on, 60 held out" in out
    assert "kind (fern or rose) from 2 features" in out
    assert accuracy(out, "held-out") > 0.9

    status, out, _ = jaxgd("predict", "model.safetensors", flowers)
    assert (status, out) == (0, "300 predictions of kind: predictions.csv\n")
    truth = pl.read_csv(flowers)["kind"].to_list()
    rows = predictions()
    assert np.mean([row["kind"] == kind for row, kind in zip(rows, truth, strict=True)]) > 0.9
    for row in rows:
        fern, rose = float(row["probability fern"]), float(row["probability rose"])
        assert fern + rose == pytest.approx(1, abs=1e-5)
        assert row["kind"] == ("rose" if rose > fern else "fern")


def test_predict_finds_columns_by_name_and_ignores_others(jaxgd, flowers, tmp_path):
    jaxgd("fit", flowers, "--target", "kind", "--ignore", "id", *PLAIN)
    jaxgd("predict", "model.safetensors", flowers, "--out", "a.csv")
    frame = pl.read_csv(flowers)
    frame.select("area mm²", pl.lit("?").alias("note"), "mass kg").write_parquet("t.parquet")
    jaxgd("predict", "model.safetensors", "t.parquet", "--out", "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()

    frame.rename({"mass kg": "mass"}).write_csv("renamed.csv")
    status, _, err = jaxgd("predict", "model.safetensors", "renamed.csv", "--out", "c.csv")
    assert status == 2
    assert err.startswith("jaxgd: renamed.csv has no column 'mass kg'; the nearest is 'mass'.")
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.optax_promotion
def test_an_mlp_learns_many_classes_from_an_npz(jaxgd, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = (np.hypot(*x.T) > 1).astype(int) + (np.hypot(*x.T) > 1.6)
    np.savez(tmp_path / "rings.npz", x=x, y=y)
    options = ["--hidden", 16, 16, "--optimizer", "adam", "--learning-rate", 0.01]
    status, out, _ = jaxgd("fit", "rings.npz", *options, "--epochs", 60, "--model-file", "rings.st")
    assert status == 0
    assert "y (3 classes) from 2 features" in out
    assert "MLP, 371 parameters (float32, default precision)" in out
    assert accuracy(out, "held-out") > 0.85
    assert load_model(tmp_path / "rings.st").training["optimizer"] == "adam"

    np.savez(tmp_path / "new.npz", x=np.array([[0.0, 0.0], [0.0, 3.0]]))
    jaxgd("predict", "rings.st", "new.npz")
    assert [row["y"] for row in predictions()] == ["0", "2"]


def test_a_regression_predicts_in_the_targets_own_unit(jaxgd, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    pl.DataFrame({"x": x, "price": 1e6 + 2e5 * x}).write_csv(tmp_path / "houses.csv")
    _, out, _ = jaxgd("fit", "houses.csv", "--target", "price")
    assert "R²" in out
    assert accuracy(out, "held-out") > 0.999
    jaxgd("predict", "model.safetensors", "houses.csv")
    values = [float(row["price"]) for row in predictions()]
    np.testing.assert_allclose(values, 1e6 + 2e5 * x, rtol=0.01)


def test_gradient_descent_and_no_held_out_part(jaxgd, flowers):
    args = ["--target", "kind", "--ignore", "id", "--batch-size", "all", "--held-out", 0]
    status, out, _ = jaxgd("fit", flowers, *args, *PLAIN, "--epochs", 7)
    assert status == 0
    assert "300 rows to train on\n" in out
    assert "7 updates by sgd" in out
    assert "held-out" not in out


def test_without_standardizing_the_scaling_is_saved_as_none(jaxgd, tmp_path):
    jaxgd("fit", *PLAIN, "--no-standardize", "--learning-rate", 1e-6)
    assert load_model(tmp_path / "model.safetensors").schema.x_scaling.scale.tolist() == [1.0] * 30


def test_a_run_that_diverges_saves_nothing(jaxgd, tmp_path):
    status, out, err = jaxgd("fit", *PLAIN, "--no-standardize", "--learning-rate", 1e36)
    assert status == 2
    assert out.splitlines()[-1].startswith("baseline: ")
    assert re.fullmatch(
        r"jaxgd: the loss must stay finite; it was nan( \(gradient of params\.w\))? at epoch 0, "
        r"update 1 \(both counted from 0\); its batch is rows (\d+, ){8}… \(32 in all\) "
        r"of the bundled .* table\. "
        r"Use a smaller --learning-rate\.\n",
        err,
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--learning-rate", 1e6], "worse than it started; its training loss went from 0.6931 to"),
        (["--learning-rate", 1e30], "worse than it started; its training loss went from 0.6931 to"),
        (["--no-standardize", "--learning-rate", 1e-7, "--epochs", 1], "than a constant predict"),
    ],
)
def test_a_run_that_has_learned_nothing_never_replaces_a_model(jaxgd, tmp_path, options, told):
    (tmp_path / "model.safetensors").write_bytes(b"a good model")
    status, out, err = jaxgd("fit", *PLAIN, *options, "--force")
    assert status == 2
    assert out.splitlines()[-1].startswith("baseline: ")
    assert err.startswith("jaxgd: a run must not end worse than ")
    assert told in err
    assert "model.safetensors is left as it was. Use another --learning-rate" in err
    assert len(err) < 300
    assert err.count("\n") == 1
    assert (tmp_path / "model.safetensors").read_bytes() == b"a good model"


def test_a_seed_repeats_a_run_and_another_changes_it(jaxgd, flowers, tmp_path):
    models = []
    for seed in (1, 1, 2):
        options = ["--target", "kind", "--ignore", "id", *PLAIN, "--batch-size", 60]
        jaxgd("fit", flowers, *options, "--seed", seed)
        models.append(load_model(tmp_path / "model.safetensors"))
    weights = [model.params.w.tobytes() for model in models]
    assert weights[0] == weights[1] != weights[2]


def test_sgd_of_a_linear_model_says_that_it_runs_blocked(jaxgd, flowers):
    options = ["fit", flowers, "--target", "kind", "--ignore", "id", *PLAIN, "--epochs", 2]
    options += ["--batch-size", 1]
    assert "480 updates by sgd (jaxgd.blocked_sgd), learning rate 0.05" in jaxgd(*options).out
    assert "by rmsprop, learning rate 0.05" in jaxgd(*options, "--optimizer", "rmsprop").out
    assert "by sgd, learning rate 0.05" in jaxgd(*options, "--hidden", 3).out


def test_auto_finds_the_learning_rate_says_it_and_a_resumed_run_keeps_it(jaxgd, flowers):
    options = ["fit", flowers, "--target", "kind", "--ignore", "id", "--learning-rate", "auto"]
    options += ["--schedule", "constant", "--run", "run", "--epochs"]
    status, out, err = jaxgd(*options, 2)
    assert (status, err) == (0, "")
    rate = re.search(r"by adam, learning rate (\S+) \(found by auto\)", out)[1]
    assert accuracy(out, "held-out") > 0.9
    status, out, _ = jaxgd(*options, 3, "--resume")
    assert status == 0
    assert f"learning rate {rate} (found by auto)" in out
    assert load_model(Path("model.safetensors")).training["learning_rate"] == float(rate)
