"""The options of a training: how they are read and written, refused, and what they change."""

import inspect
import re
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
import tyro
from tyro.conf import OmitArgPrefixes

from jaxgd.cli.config_file import config_text, with_config
from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.optimizer_options import OPTIONS, read_optimizer
from jaxgd.cli.run_parts import epochs_of, schedule
from jaxgd.cli.training_options import TrainingOptions
from jaxgd.cli.words import in_order
from jaxgd.optim.registry import REGISTRY
from jaxgd.tabular import load_model

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_options_are_read_back_from_a_config(tmp_path):
    def training(
        source: OmitArgPrefixes[DataOptions],
        training: OmitArgPrefixes[TrainingOptions],
        *,
        config: Path,
    ) -> TrainingOptions:
        return training

    given = TrainingOptions(
        hidden=(16, 8),
        activation="tanh",
        optimizer="adam:betas=0.8/0.9,amsgrad=true",
        learning_rate=0.1,
        schedule="linear",
        warmup=2.0,
        weight_decay=0.1,
        clip_norm=1.0,
        average=0.99,
        batch_size=None,
        epochs=7,
        valid="0.2",
        patience=3,
        min_change=1e-4,
        class_weight="balanced",
        sample_weight="w",
        device="cpu",
    )
    path = tmp_path / "config.toml"
    for options in (TrainingOptions(), given, TrainingOptions(average="mean")):
        path.write_text(config_text(DataOptions(), options, {}))
        words = in_order(with_config(["--config", str(path)]))
        assert tyro.cli(training, args=words) == options


def test_the_options_on_offer_are_those_that_the_optimizers_take():
    untold = {"lr", "history_dtype"}  # a type is no word
    for name, options in OPTIONS.items():
        assert set(options) == set(inspect.signature(REGISTRY[name].build).parameters) - untold


def test_an_optimizer_is_read_with_its_options():
    read = read_optimizer("AdamW:weight-decay=0.1,betas=0.9/0.99,amsgrad=true")
    told = {"weight_decay": 0.1, "betas": (0.9, 0.99), "amsgrad": True}
    assert read == ("adamw", told)
    assert read_optimizer(str(read)) == read
    assert read_optimizer("lbfgs:max_iter=3").options == {"max_iter": 3}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--optimizer adamw:wd=1", "options of adamw must be among betas, eps, weight_decay, "),
        ("--optimizer sgd:lr=1", "among momentum, .* got 'lr'. Use --learning-rate."),
        ("--optimizer sgd:momentun=1", "got 'momentun'. Use 'momentum'"),
        ("--optimizer sgd:momentum", "must be of the form NAME:OPTION=VALUE,…; got"),
        ("--optimizer sgd:momentum=fast", "momentum must be a number, true or false, or numbers"),
        ("--momentum 0.9", "options of adam must be among betas, .* got 'momentum'."),
        ("--optimizer sgd:momentum=1 --momentum 1", "momentum must be told once; got"),
        ("--warmup -1", "warmup must be finite and at least 0; got warmup=-1."),
        ("--clip-norm 0", "clip_norm must be above 0; got clip_norm=0."),
        ("--average 1.0", "average must be a decay in .0, 1., or mean; got 1."),
        ("--valid 1.5", "valid must be a fraction in .0, 1., or a file; got 1.5."),
        ("--valid nowhere.csv", "No such file or directory: nowhere.csv"),
    ],
)
def test_wrong_options_are_refused_with_those_that_there_are(jaxgd, words, told):
    status, out, err = jaxgd("fit", *words.split())
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(told, err)


def test_a_rate_rises_and_goes_to_nothing():
    options = TrainingOptions(learning_rate=0.1, schedule="linear", warmup=1.0, epochs=3)
    part = schedule(options, 10)
    found = [float(part(t)) for t in (0, 4, 9, 20, 30)]
    np.testing.assert_allclose(found, [0.1, 0.5, 1.0, 0.5, 0.0], atol=1e-6)
    cosine = schedule(TrainingOptions(epochs=2), 10)
    np.testing.assert_allclose([float(cosine(t)) for t in (0, 10, 20)], [1, 0.5, 0], atol=1e-6)
    assert schedule(TrainingOptions(learning_rate=0.1), 10) is None


def test_small_tables_are_seen_often_and_large_ones_a_few_times():
    assert [epochs_of(TrainingOptions(), u) for u in (1, 50, 500, 10**6)] == [200, 200, 20, 5]
    assert epochs_of(TrainingOptions(epochs=3), 1) == 3


TRAIN = ["--target", "kind", "--ignore", "id", "--epochs", 2, "--learning-rate", 0.1]


def params():
    return load_model(Path("model.safetensors")).params


def test_an_option_of_its_own_is_that_of_the_optimizer(jaxgd, flowers):
    jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd:momentum=0.5")
    within = params()
    jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd", "--momentum", 0.5)
    np.testing.assert_array_equal(params().w, within.w)
    jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd")
    assert (params().w != within.w).all()


def test_a_short_gradient_is_not_clipped_and_a_long_one_is(jaxgd, flowers):
    lengths = []
    for longest in (1e9, 1e-3):
        jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd", "--clip-norm", longest)
        lengths.append(np.linalg.norm(params().w))
    updates = 2 * 8
    assert 0 < lengths[1] <= 0.1 * 1e-3 * updates < lengths[0]


def test_averaged_params_are_saved_and_judged(jaxgd, flowers):
    jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd")
    last = params()
    for average in ("mean", 0.9):
        jaxgd("fit", flowers, *TRAIN, "--optimizer", "sgd", "--average", average, "--patience", 9)
        assert 0 < np.linalg.norm(params().w) < np.linalg.norm(last.w)


def test_an_activation_is_kept_in_the_model(jaxgd, flowers):
    options = ["fit", flowers, *TRAIN, "--hidden", 3]
    jaxgd(*options, "--activation", "tanh")
    assert load_model(Path("model.safetensors")).predictor.activation == "tanh"
    jaxgd(*options)
    model = load_model(Path("model.safetensors"))
    assert model.predictor.activation == "relu"
    x = np.array([[1.0, -2.0]], np.float32)
    hidden, last = model.params
    logit = np.maximum(x @ hidden.w + hidden.b, 0) @ last.w + last.b
    probability = 1 / (1 + np.exp(-logit[0]))
    np.testing.assert_allclose(model.predictor.predict(model.params, x)[0, 1:], probability, 1e-5)


def test_rows_to_stop_by_are_set_aside_or_in_a_file(jaxgd, flowers):
    _, out, _ = jaxgd("fit", flowers, *TRAIN, "--valid", 0.25)
    assert "180 rows to train on, 60 held out" in out
    pl.read_csv(flowers).head(30).write_csv("judges.csv")
    _, out, _ = jaxgd(
        "fit", flowers, *TRAIN[:4], "--epochs", 50, "--valid", "judges.csv", "--lr", 1
    )
    assert "240 rows to train on, 60 held out" in out
    assert re.search(r"stopped after \d+ epochs: the validation loss fell no more for 10", out)


def test_a_device_that_is_not_there_is_told_with_those_that_are(jaxgd, flowers):
    status, _, err = jaxgd("fit", flowers, *TRAIN, "--device", "tpu")
    assert status == 2
    assert err == "jaxgd: device must be one of those that are here: cpu; got tpu.\n"
    try:
        assert jaxgd("fit", flowers, *TRAIN, "--device", "cpu").status == 0
    finally:
        jax.config.update("jax_default_device", None)


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        (("--optimizer", "sgd", "--batch-size", 1, "--schedule", "constant"), None),
        (("--optimizer", "rprop", "--batch-size", "all", "--epochs", 30), None),
        (("--optimizer", "sgd", "--batch-size", 1, "--average", 0, "--lr", 0.1), 0.1),
    ],
)
def test_what_hangs_on_its_rate_learns(jaxgd, flowers, tmp_path, options, rate):
    """One by one in blocks, steps that begin at the rate, and an average that is the newest."""
    words = [flowers, "--target", "kind", "--ignore", "id", "--epochs", 3, *options]
    assert jaxgd("fit", *words).status == 0  # and better than a constant
    note = load_model(tmp_path / "model.safetensors").training
    assert rate in (None, note["learning_rate"])
    assert note["schedule"] == ("cosine" if "rprop" in options else "constant")


def test_a_rate_that_is_still_rising_at_the_end_is_refused(jaxgd, flowers):
    words = [flowers, "--target", "kind", "--ignore", "id", "--epochs", 3, "--warmup", 3]
    assert "warmup must be shorter than the run; got 3 of 3 epochs" in jaxgd("fit", *words).err
