"""The history on disk: readable at any moment, and the same bytes whatever happened on the way."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.fitting import history_file
from tests.laws.problem import KEY, MOMENTUM, data, loss

PARAMS = jaxgd.Linear(jnp.full(5, 0.1), jnp.asarray(0.1))


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)


def fitted(**options):
    return jaxgd.fit(
        loss, PARAMS, data(), optimizer=MOMENTUM, epochs=3, batch_size=4, key=KEY,
        validation=data(7), **options,
    )  # fmt: skip


def test_a_line_stands_there_before_the_next_segment(tmp_path):
    path, told = tmp_path / "history.jsonl", []

    def compare(now):
        *_, last = map(json.loads, path.read_text().splitlines())
        told.append(last)
        assert (last["epoch"], last["update"]) == (now.epoch, now.update)
        assert (last["loss"], last["validation_loss"]) == (now.loss, now.validation_loss)

    run = fitted(checkpoint=tmp_path, progress=compare)
    assert len(told) == 9
    validated = [line["validation_loss"] for line in told if line["update"] == 0]
    assert validated == run.history.validation_loss.tolist()


def test_killed_and_gone_on_with_it_is_the_same_bytes(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fitted(checkpoint=whole)
    fitted(checkpoint=killed, progress=lambda now: (now.epoch, now.update) == (1, 2))
    with (killed / "history.jsonl").open("a") as file:  # as a kill leaves it: ahead, and torn
        file.write(
            '{"epoch": 1, "update": 4, "loss": 0.5, "validation_loss": null}\n{"epoch": 2, "up'
        )
    fitted(checkpoint=killed, resume=True)
    ours, theirs = ((run / "history.jsonl").read_bytes() for run in (killed, whole))
    assert ours == theirs
    fitted(checkpoint=killed, resume=True)  # it is done: nothing is added
    assert (killed / "history.jsonl").read_bytes() == theirs


def test_it_is_a_callback_of_its_own_too(tmp_path):
    path = tmp_path / "losses.jsonl"
    path.write_text("not of a history\n")
    fitted(progress=jaxgd.jsonl(path))
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()][-1] == 3
    write = jaxgd.jsonl(tmp_path / "nan.jsonl")
    write(jaxgd.Progressed(1, 3, float("nan"), None, 0, None))
    assert json.loads((tmp_path / "nan.jsonl").read_text())["loss"] is None


def test_a_line_that_could_not_be_written_is_made_again(tmp_path, monkeypatch):
    """No checkpoint lies behind it, so a run that goes on comes by there once more."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    fitted(checkpoint=whole)
    lines = []

    def full(line):
        lines.append(line)
        if len(lines) == 4:
            raise OSError(28, "No space left on device")
        return json.dumps(line)

    with monkeypatch.context() as patch:
        patch.setattr(history_file, "json", SimpleNamespace(dumps=full, loads=json.loads))
        with pytest.raises(OSError, match="No space left"):
            fitted(checkpoint=torn)
    fitted(checkpoint=torn, resume=True)
    assert (torn / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
