"""An exported predictor is its model's predictions; rows that do not fit are refused in a line."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.interop import ExportedPredictor, export_predictor, load_predictor
from jaxgd.tabular import Model, Predictor, Schema, Standardizer, Table, Target
from jaxgd.tabular.model_file import load_model, save_model
from jaxgd.tabular.schema import plain

D = 3
NAMES = "abc"


def model(precision="default"):
    """A binary model with weights of many digits, which bfloat16 rounds."""
    target = Target("y", "binary", ("no", "yes"))
    zero, one = np.zeros(()), np.ones(())
    scaling = Standardizer(np.arange(D) / 7, np.arange(1.0, 1 + D) / 3)
    schema = Schema(plain(*NAMES), target, scaling, Standardizer(zero, one))
    params = jaxgd.Linear(jnp.asarray([0.123456, -1.23456, 0.7654321]), jnp.asarray(0.3))
    return Model(Predictor(D, target), params, schema, {"precision": precision})


def rows(n=4):
    return np.random.default_rng(0).normal(size=(n, D))


@pytest.fixture(scope="module")
def exported():
    return export_predictor(model(), platforms=["cpu"])


@pytest.mark.parametrize(
    "x", [rows()[:, :1], rows()[0], rows()[:0], rows()[:, [0, 1, 2, 0]], rows()[None]]
)
def test_rows_of_another_width_are_refused(exported, x):
    with pytest.raises(ValueError, match=r"x must be one row or more of 3 columns.*\(1, d\)"):
        unchecked(ExportedPredictor.predict)(exported, x)
    assert exported.predict(rows(1)).shape == (1, 2)


def test_it_predicts_in_the_precision_that_the_model_was_trained_in(exported):
    table = Table(dict(zip(NAMES, rows().T, strict=True)), "rows")
    half = model("bfloat16")
    np.testing.assert_array_equal(half.predict(table), export_predictor(half).predict(rows()))
    assert np.abs(half.predict(table) - model().predict(table)).max() > 1e-4
    told = export_predictor(model("highest")).artifact.exported.mlir_module()
    assert "HIGHEST" in told
    assert "HIGHEST" not in exported.artifact.exported.mlir_module()


def test_a_model_of_an_unknown_precision_is_refused(tmp_path):
    save_model(tmp_path / "model", model("double"))
    with pytest.raises(ValueError, match="precision must be one of"):
        load_model(tmp_path / "model")


def test_another_platform_is_refused_before_anything_is_computed(tmp_path):
    for_tpus = export_predictor(model(), platforms=["tpu", "cuda"])
    for_tpus.save(tmp_path / "a")
    message = "must run on a platform that it was made for, tpu, cuda; got arrays on cpu. Move"
    with pytest.raises(ValueError, match=message):
        load_predictor(tmp_path / "a").predict(rows())
    with jax.default_device(jax.devices("cpu")[0]), pytest.raises(ValueError, match=message):
        for_tpus.predict(rows())
