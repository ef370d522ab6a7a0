"""Recordings on disk: written, read back, compared in pieces, and told by `jaxgd diff`."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from ml_dtypes import bfloat16

from jaxgd.cli.__main__ import main
from jaxgd.equivalence import DiskRecording, Recorder, assert_equivalent, diagnose
from jaxgd.equivalence.diagnosis.of_recordings import difference
from jaxgd.equivalence.recordings import on_disk
from jaxgd.equivalence.recordings import recorder as recorder_module
from jaxgd.equivalence.recordings.disk_array import OnDisk
from tests.equivalence.networks import RECIPE, jax_step, problem, torch_pass, torch_training
from tests.equivalence.runs import momentum_run

MOMENTUM = {"rule": "sgd", "lr": 0.1, "momentum": 0.9}


def record(folder, updates, **options):
    recorder = Recorder(folder, **options)
    recorder.start(updates[0].params)
    for u in updates:
        recorder.update(u.gradient, u.updated, batch=u.batch, outputs=u.outputs, loss=u.loss)
    return DiskRecording(folder)


def test_what_is_written_is_read_back(tmp_path):
    updates = torch_training("tanh", 0)[:3]
    recording = record(tmp_path / "run", updates, seed=7)
    assert (len(recording), recording.configuration["seed"]) == (3, 7)
    assert recording.configuration["torch"] == torch.__version__
    for read, written in zip(recording, updates, strict=True):
        for name, value in written.gradient.items():
            np.testing.assert_array_equal(read.gradient[name], value)
        np.testing.assert_array_equal(read.params["1.bias"], written.params["1.bias"])
        np.testing.assert_array_equal(read.batch["0"], written.batch[0])
        np.testing.assert_array_equal(read.outputs, written.outputs)
    assert diagnose([*recording], updates, RECIPE).update is None


def test_the_files_are_safetensors(tmp_path):
    brain = torch.linspace(-1, 1, 6, dtype=torch.bfloat16).reshape(2, 3)
    recorder = Recorder(tmp_path / "run")
    recorder.start({"w": brain, "n": np.arange(3)}, {"mean": np.ones(2, np.float16)})
    stored = safetensors.numpy.load_file(tmp_path / "run" / "start.safetensors")
    assert stored.keys() == {"params/w", "params/n", "buffers/mean"}
    np.testing.assert_array_equal(stored["params/n"], np.arange(3))
    assert stored["params/w"].dtype == bfloat16
    np.testing.assert_array_equal(stored["params/w"].astype(np.float32), brain.float().numpy())


def test_the_recorder_needs_numpy_alone(tmp_path):
    """Copied elsewhere, and run where nothing else can be imported."""
    file = tmp_path / "recorder.py"
    file.write_text(Path(recorder_module.__file__).read_text())
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'jax', 'jaxgd', 'safetensors'])); "
        "import numpy as np; from recorder import Recorder; r = Recorder('run'); "
        "r.start({'w': np.ones(2)}); r.update({'w': np.ones(2)}, {'w': np.zeros(2)}, loss=1.0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    (update,) = DiskRecording(tmp_path / "run")
    np.testing.assert_array_equal(update.updated["w"], np.zeros(2))


def test_a_proof_begins_from_a_recording(tmp_path):
    """The reference was recorded elsewhere; its pass is needed for its rounding."""
    expected = record(tmp_path / "run", torch_training("relu", 0)[:6])
    arguments = {"expected": expected, "recipe": RECIPE, "start": problem(0).start}
    on_disk = {"x": "0", "y": "1"}  # a tuple is read back as a dict of its positions

    def with_pairs(step):
        return lambda params, batch: step(params, tuple(batch[k] for k in on_disk.values()))

    def reference(params, batch):
        update = torch_pass("relu")(params, tuple(batch[k] for k in on_disk.values()))
        return update._replace(batch=None)

    step = with_pairs(jax_step("relu"))
    assert assert_equivalent(step=step, reference=reference, **arguments).verdict == "equivalent"


class TestDiff:
    def test_the_same_training(self, tmp_path, capsys):
        record(tmp_path / "a", momentum_run(jitter=1), recipe=MOMENTUM)
        record(tmp_path / "b", momentum_run(), recipe=MOMENTUM)
        assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
        assert capsys.readouterr().out.startswith("The runs are the same, to rounding: updates 0")

    def test_a_fault_is_told_with_its_cause_and_what_was_set_otherwise(self, tmp_path, capsys):
        record(tmp_path / "a", momentum_run(learning_rate=0.2), seed=1, recipe=MOMENTUM)
        record(tmp_path / "b", momentum_run(), seed=0, recipe=MOMENTUM)
        with pytest.raises(SystemExit) as failure:
            main(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
        assert failure.value.code == 1
        page = (Path(__file__).parents[2] / "docs" / "equivalence.md").read_text()
        shown = page.split("jaxgd diff RUN-IN-JAX RUN-IN-TORCH")[1].split("```text\n")[1]
        assert capsys.readouterr().out == shown.split("```")[0]

    def test_every_third_update_costs_what_lies_between(self, tmp_path):
        sides = [
            record(tmp_path / name, momentum_run(learning_rate=rate), every=3, recipe=MOMENTUM)
            for name, rate in (("a", 0.101), ("b", 0.1))
        ]
        assert [len(side) for side in sides] == [10, 10]
        run = momentum_run()
        np.testing.assert_array_equal(sides[1][2].params["w"], run[6].params["w"])
        np.testing.assert_array_equal(sides[1][2].updated["w"], run[6].updated["w"])
        found = difference(*sides)
        assert not found.same
        assert "One update in 3 was kept: the steps between were not judged" in str(found)

    def test_a_model_that_changes_in_place_is_copied(self, tmp_path):
        live, recorder = {"w": torch.zeros(2)}, Recorder(tmp_path / "run", every=2)
        recorder.start(live)
        for _ in range(4):
            live["w"] += 1
            recorder.update({"w": torch.ones(2)}, live)
        read = [(float(u.params["w"][:][0]), float(u.updated["w"][:][0])) for u in
                DiskRecording(tmp_path / "run")]  # fmt: skip
        assert read == [(0.0, 1.0), (2.0, 3.0)]

    def test_what_is_no_recording_is_named(self, tmp_path, capsys):
        assert main(["diff", str(tmp_path), str(tmp_path)]) == 2
        assert "A recording is a folder with a manifest.json" in capsys.readouterr().err
        recording = record(tmp_path / "a", momentum_run())
        file = tmp_path / "a" / "00003.safetensors"
        file.write_bytes(file.read_bytes()[:-8])
        with pytest.raises(ValueError, match=r"00003\.safetensors is damaged or truncated"):
            recording[3]


def test_a_comparison_takes_memory_for_a_block_not_for_the_run(tmp_path):
    """50 updates of 40,000 numbers are 32 MB on each side."""
    size, updates = 40_000, 50
    for name, rate in (("a", 0.101), ("b", 0.1)):
        rng = np.random.default_rng(0)
        recorder = Recorder(tmp_path / name)
        params = {"w": rng.normal(size=size)}
        recorder.start(params)
        for _ in range(updates):
            gradient = {"w": rng.normal(size=size)}
            params = {"w": params["w"] - rate * gradient["w"]}
            recorder.update(gradient, params)
    tracemalloc.start()
    found = difference(DiskRecording(tmp_path / "a"), DiskRecording(tmp_path / "b"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.diagnosis.update, found.diagnosis.stage) == (1, "parameters")
    assert peak < 25e6  # a block of 4096 numbers is 1.6 MB in float64, of which some are held


def test_a_comparison_of_the_same_training_reads_each_number_twice(tmp_path, monkeypatch):
    """Once for the digest of its file, once to be compared; the start alone once more."""
    runs = {"a": momentum_run(jitter=1), "b": momentum_run()}
    sides = [record(tmp_path / name, run, recipe=MOMENTUM) for name, run in runs.items()]
    files = [file for side in sides for file in side.folder.glob("*.safetensors")]
    stored = {file: safetensors.numpy.load_file(file) for file in files}
    read = {"digest": 0, "compared": 0}
    pieces, part = on_disk._pieces, OnDisk.__getitem__

    def hashed(*file):
        for piece in pieces(*file):
            read["digest"] += len(piece)
            yield piece

    def compared(array, at):
        numbers = part(array, at)
        read["compared"] += numbers.nbytes
        return numbers

    monkeypatch.setattr(on_disk, "_pieces", hashed)
    monkeypatch.setattr(OnDisk, "__getitem__", compared)
    assert difference(*sides).same
    size = {file: sum(a.nbytes for a in arrays.values()) for file, arrays in stored.items()}
    starts = sum(size[file] for file in files if file.name == "start.safetensors")
    assert read == {"digest": sum(size.values()), "compared": sum(size.values()) + starts}


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [({"version": 1}, "of version 2; got .* of version 1"), ({}, "its SHA-256 is missing or")],
)
def test_a_manifest_without_a_digest_is_refused(tmp_path, changed, refusal):
    manifest = record(tmp_path / "run", torch_training("tanh", 0)[:1]).folder / "manifest.json"
    told = json.loads(manifest.read_text()) | changed
    del told["sha256"]
    manifest.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=refusal):
        DiskRecording(tmp_path / "run")
