"""A saved model: what was saved is what is loaded, and a file that is not whole is refused."""

import dataclasses
import json
import os

import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgd.storage.verified_file import load_arrays, save_arrays, write_atomically
from jaxgd.tabular import (
    Model,
    Predictor,
    Schema,
    Standardizer,
    Target,
    load_model,
    model_file,
    save_model,
)
from jaxgd.tabular.schema import plain

TARGETS = (
    Target("Größe", "regression"),
    Target("t", "binary", ("no", "yes")),
    Target("t", "multiclass", ("a", "b", "c")),
)


def model(target=TARGETS[1], hidden=(), seed=0):
    rng = np.random.default_rng(seed)
    predictor = Predictor(2, target, hidden)
    params = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(predictor.init, jax.random.key(0)),
    )
    return Model(
        predictor,
        params,
        Schema(
            plain("width", "length of it"),
            target,
            Standardizer(rng.normal(size=2), rng.uniform(size=2)),
            Standardizer(np.asarray(rng.normal()), np.asarray(rng.uniform())),
        ),
        {"optimizer": "sgd", "learning_rate": 0.05, "batch_size": None},
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model())
    return path


@settings(deadline=None, max_examples=20)
@given(
    target=st.sampled_from(TARGETS),
    hidden=st.sampled_from([(), (3,), (4, 5)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, target, hidden, seed):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    before = model(target, hidden, seed)
    save_model(path, before)
    after = load_model(path)
    assert jax.tree.structure(after.params) == jax.tree.structure(before.params)
    assert [leaf.tobytes() for leaf in jax.tree.leaves(after.params)] == [
        leaf.tobytes() for leaf in jax.tree.leaves(before.params)
    ]
    for name in ("x_scaling", "y_scaling"):
        np.testing.assert_array_equal(getattr(after.schema, name), getattr(before.schema, name))
    assert after.schema.columns == before.schema.columns
    for name in ("predictor", "training"):
        assert getattr(after, name) == getattr(before, name)


def test_any_safetensors_reader_can_read_the_arrays(saved):
    assert set(safetensors.numpy.load_file(saved)) == {
        "params.w",
        "params.b",
        "x_scaling.mean",
        "x_scaling.scale",
        "y_scaling.mean",
        "y_scaling.scale",
    }


def test_every_flipped_bit_is_noticed(saved, tmp_path):
    content = saved.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    rng = np.random.default_rng(0)
    for position in {*range(0, len(content), 7), *range(len(content) - 48, len(content))}:
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"damaged|not a jaxgd model|format version"):
            load_model(damaged)


def test_a_flipped_bit_in_a_parameter_names_the_digest(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    assert safetensors.numpy.load_file(saved)  # safetensors itself sees nothing wrong
    with pytest.raises(ValueError, match=r"is damaged: its SHA-256 does not match"):
        load_model(saved)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is not a jaxgd model, or is damaged or truncated"):
        load_model(saved)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="is not a jaxgd model, or is damaged"):
        load_model(path)
    safetensors.numpy.save_file({"w": np.ones(3)}, path)
    with pytest.raises(ValueError, match="is a safetensors file, but not a jaxgd model"):
        load_model(path)
    save_arrays(path, {"w": np.ones(3)}, {}, kind="jaxgd checkpoint", version=1)
    with pytest.raises(ValueError, match="is a jaxgd checkpoint, not a jaxgd model"):
        load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nowhere.safetensors")


def test_a_newer_format_asks_for_a_newer_jaxgd(saved, monkeypatch):
    monkeypatch.setattr(model_file, "_VERSION", 3)
    save_model(saved, model())
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"format version 4; this jaxgd reads up to 3\. Update"):
        load_model(saved)


def test_a_file_of_version_1_has_features_that_are_numbers(saved):
    arrays, note = load_arrays(saved, kind="jaxgd model", version=2)
    old = {name: note[name] for name in note if name not in ("columns", "id")}
    save_arrays(saved, arrays, old | {"features": ["a", "b"]}, kind="jaxgd model", version=1)
    assert load_model(saved).schema.columns == plain("a", "b")


@pytest.mark.parametrize(
    "wrong", [{"kind": "colour"}, {"levels": "ab"}, {"fill": "1"}, {"name": 3}, {"colour": "red"}]
)
def test_columns_of_no_known_form_are_refused(saved, wrong):
    arrays, note = load_arrays(saved, kind="jaxgd model", version=2)
    note["columns"][0] |= wrong
    save_arrays(saved, arrays, note, kind="jaxgd model", version=2)
    with pytest.raises(ValueError, match="jaxgd model"):
        load_model(saved)


def test_arrays_that_do_not_fit_the_note_are_refused(saved):
    wrong = dataclasses.replace(model(), predictor=Predictor(2, TARGETS[1], (3,)))
    save_model(saved, wrong)
    with pytest.raises(ValueError, match=r"does not fit its note: it holds .*'params\.w': \(2,\)"):
        load_model(saved)


def test_the_note_says_what_the_model_is(saved):
    header = saved.read_bytes()
    length = int.from_bytes(header[:8], "little")
    note = json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["note"])
    assert note["kind"] == "jaxgd model"
    assert note["classes"] == ["no", "yes"]
    assert note["training"]["learning_rate"] == 0.05


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(saved, model(seed=1))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_atomically(tmp_path / "nowhere" / "file", b"content")


def test_a_link_stays_and_its_target_is_written(tmp_path):
    file, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    file.parent.mkdir()
    file.write_bytes(b"old")
    link.symlink_to(file)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_a_link_to_itself_becomes_the_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    write_atomically(tmp_path / "loop", b"content")
    assert (tmp_path / "loop").read_bytes() == b"content"


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file") as refused:
        write_atomically(pipe, b"content")
    assert refused.value.filename == str(pipe)
    assert pipe.is_fifo()


def test_empty_and_non_contiguous_arrays_come_back(tmp_path):
    arrays = {"empty": np.zeros((0, 3)), "turned": np.arange(6.0).reshape(2, 3).T}
    save_arrays(tmp_path / "f", arrays, {"a": [1]}, kind="k", version=1)
    loaded, note = load_arrays(tmp_path / "f", kind="k", version=1)
    assert note == {"a": [1]}
    np.testing.assert_array_equal(loaded["turned"], arrays["turned"])
    assert loaded["empty"].shape == (0, 3)
