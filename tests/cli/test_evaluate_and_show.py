"""`jaxgd evaluate` and `jaxgd show`: what a saved model does, and what it is."""

import json

import numpy as np
import polars as pl
import pytest

from jaxgd.cli.__main__ import main
from jaxgd.cli.model_report import training_told
from jaxgd.tabular import load_model, read_table

RNG = np.random.default_rng(0)
N = 120


@pytest.fixture(scope="module")
def plants(tmp_path_factory):
    """A folder with a table of numbers, texts and gaps, and a model of each kind of target."""
    folder = tmp_path_factory.mktemp("plants")
    height = RNG.normal(30, 10, N)
    soil = np.array(["clay", "loam", "sand"])[RNG.integers(3, size=N)]
    frame = pl.DataFrame(
        {
            "height": [None if i % 9 == 0 else x for i, x in enumerate(height)],
            "soil": soil,
            "mass": 5 + height / 3 + (soil == "loam"),
            "kind": np.where(height > 30, "tree", "herb"),
            "zone": np.digitize(height, [25, 35]),
        }
    )
    frame.write_csv(folder / "plants.csv")
    for target in ("mass", "kind", "zone"):
        others = {"mass", "kind", "zone"} - {target}
        fit = ["fit", folder / "plants.csv", "--target", target, "--ignore", *others, "--lr", 0.1]
        assert main([str(word) for word in [*fit, "--model-file", folder / target]]) == 0
    return folder


@pytest.mark.parametrize("target", ["mass", "kind", "zone"])
def test_the_measures_are_those_of_the_predictions(jaxgd, plants, target):
    status, out, err = jaxgd("evaluate", plants / target, plants / "plants.csv", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    frame, model = pl.read_csv(plants / "plants.csv"), load_model(plants / target)
    predicted = model.predict(read_table(plants / "plants.csv"))
    metrics, baseline = found["metrics"], found["baseline"]
    assert (found["target"], found["rows"]) == (target, N)
    assert metrics["loss"] < baseline["loss"]
    y = frame[target].to_numpy()
    if target == "mass":
        assert metrics["MAE"] == pytest.approx(np.mean(np.abs(predicted - y)), rel=1e-6)
        assert baseline["MAE"] == pytest.approx(np.mean(np.abs(y - y.mean())), rel=1e-6)
        assert "classes" not in found
        return
    names = [str(value) for value in y]
    best = [model.schema.target.classes[i] for i in predicted.argmax(axis=1)]
    right = [name == guess for name, guess in zip(names, best, strict=True)]
    assert metrics["accuracy"] == pytest.approx(np.mean(right))
    assert baseline["accuracy"] == max(names.count(name) for name in set(names)) / N
    for name, told in found["classes"].items():
        assert told["rows"] == sum(told["predicted"].values()) == names.count(name)
    table = jaxgd("evaluate", plants / target, plants / "plants.csv").out
    rows = [line.split() for line in table.splitlines()]
    assert next(row[2] for row in rows if row[:2] == ["all", "rows"]) == f"{metrics['loss']:#.4g}"
    assert [row for row in rows if row[:1] == ["constant"]]


def test_a_target_that_the_model_does_not_know_is_refused(jaxgd, plants, tmp_path):
    frame = pl.read_csv(plants / "plants.csv")
    frame.with_columns(kind=pl.lit("moss")).write_csv("moss.csv")
    status, _, err = jaxgd("evaluate", plants / "kind", "moss.csv")
    assert status == 2
    assert err == (
        "jaxgd: column 'kind' of moss.csv holds 'moss', of which the model knows nothing; its "
        "classes are 'herb', 'tree'. Drop those rows.\n"
    )
    frame.with_columns(mass=pl.lit("heavy")).write_csv("text.csv")
    assert "the model predicts numbers" in jaxgd("evaluate", plants / "mass", "text.csv").err
    frame.drop("kind").write_csv("without.csv")
    assert "no column 'kind'" in jaxgd("evaluate", plants / "kind", "without.csv").err


def test_classes_that_are_texts_stay_texts_where_only_numbers_are_left(jaxgd, tmp_path):
    x = np.arange(60.0)
    codes = np.array(["7", "8", "x"])[np.arange(60) // 20]
    frame = pl.DataFrame({"x": x, "y": codes})
    frame.write_csv(tmp_path / "all.csv")
    assert jaxgd("fit", "all.csv", "--lr", 0.5).status == 0
    frame.head(40).write_csv(tmp_path / "numbers.csv")
    found = json.loads(jaxgd("evaluate", "model.safetensors", "numbers.csv", "--json").out)
    assert [told["rows"] for told in found["classes"].values()] == [20, 20, 0]
    assert found["classes"]["x"]["recall"] is None


def test_a_model_shows_its_columns_and_its_coefficients(jaxgd, plants):
    status, out, err = jaxgd("show", plants / "kind", "--json")
    assert (status, err) == (0, "")
    found, model = json.loads(out), load_model(plants / "kind")
    height, soil = found["columns"]
    assert (height["name"], height["kind"]) == ("height", "number")
    assert height["missing_values"] == f"filled with {height['fill']:.6g}, and marked"
    assert height["scaling"]["mean"] == model.schema.x_scaling.mean[0]
    assert (soil["levels"], soil["missing_values"]) == (["clay", "loam", "sand"], "as no level")
    weights = {name: of["tree"] for name, of in found["coefficients"].items()}
    assert weights == dict(zip(model.schema.features, model.params.w.tolist(), strict=True))
    sizes = [abs(weight) for weight in weights.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert found["training"]["learning_rate"] == 0.1
    status, shown, err = jaxgd("show", plants / "kind")
    assert (status, err) == (0, "")
    assert f"height {weights['height']:#.4g}" in " ".join(shown.split())


def test_all_classes_have_coefficients_and_an_mlp_has_none(jaxgd, plants):
    found = json.loads(jaxgd("show", plants / "zone", "--json").out)
    assert all(list(of) == ["0", "1", "2"] for of in found["coefficients"].values())
    fit = "fit", plants / "plants.csv", "--target", "mass", "--ignore", "kind", "--lr", 0.05
    assert jaxgd(*fit, "--hidden", 3, "--model-file", "mlp").status == 0
    assert "coefficients" not in json.loads(jaxgd("show", "mlp", "--json").out)
    assert "MLP with hidden layers of 3, 25 parameters" in jaxgd("show", "mlp").out


def test_what_an_estimator_is_made_again_from_is_not_told():
    told = training_told({"epochs": 3, "estimator": {"loss_curve": [1.0]}, "seed": 0, "id": None})
    assert told == "epochs 3, seed 0"
