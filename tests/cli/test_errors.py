"""Whatever a user can get wrong is one line on standard error, status 2, and nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgd.cli import comparison
from jaxgd.cli.data_options import DataOptions

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("nowhere.csv", "No such file or directory: nowhere.csv"),
        ("flowers.csv --target kin", "flowers.csv has no column 'kin'; the nearest is 'kind'."),
        (
            "flowers.csv",
            "the target column of flowers.csv must be named with --target. Its columns are 'id', ",
        ),
        ("--learning-rate nan", "learning_rate must be finite and greater than 0; got learning_ra"),
        ("--learning-rate inf", "learning_rate must be finite and greater than 0; got learning_ra"),
        (
            "--learning-rate -1",
            "learning_rate must be finite and greater than 0; got learning_rate=-1.",
        ),
        (
            "--learning-rate 0",
            "learning_rate must be finite and greater than 0; got learning_rate=0.",
        ),
        ("--seed -1", "seed must be an integer in [0, 2**32); got seed=-1."),
        ("--seed 4294967296", "seed must be an integer in [0, 2**32); got seed=4294967296."),
        ("--optimizer adm", "optimizer must be one of adadelta, adafactor, adagrad, adam, "),
        ("--epochs 0", "epochs must be an integer of at least 1; got epochs=0."),
        ("--batch-size 0", "batch_size must be in [1, n]; got batch_size=0."),
        ("--hidden 8 0", "every width in hidden must be an integer of at least 1; got"),
        ("--held-out 1", "held_out must be a fraction in [0, 1); got held_out=1."),
        ("--task regression", "a regression target must be numbers; column 'diagnosis' holds text"),
        (
            "--model-file flowers.csv/b.st",
            "cannot write flowers.csv/b.st: flowers.csv is not a directory",
        ),
        ("--model-file .", "cannot write .: it is a directory"),
    ],
)
def test_a_mistake_is_told_in_one_line(jaxgd, flowers, tmp_path, args, message):
    status, out, err = jaxgd("fit", *args.split())
    assert (status, out) == (2, "")
    assert err.startswith(f"jaxgd: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [flowers]


def test_muon_is_refused_before_anything_is_read_and_never_offered(jaxgd):
    status, _, err = jaxgd("fit", "nowhere.csv", "--optimizer", "muon")
    assert status == 2
    assert err.startswith("jaxgd: optimizer must be one of adadelta, adafactor, adagrad, adam, ")
    assert err.endswith("; got 'muon'. Muon takes matrices only; every model here has a vector.\n")
    assert err.count("\n") == 1
    assert "muon" not in jaxgd("fit", "nowhere.csv", "--optimizer", "mun").err.replace("'mun'", "")


@pytest.mark.parametrize(
    "argv", ["fit flowers.csv --model-file pipe", "predict nowhere.st flowers.csv --out pipe"]
)
def test_a_pipe_or_device_is_not_written_over(jaxgd, flowers, tmp_path, argv):
    os.mkfifo(tmp_path / "pipe")
    status, out, err = jaxgd(*argv.split())
    assert (status, out) == (2, "")
    assert err == "jaxgd: cannot write pipe: it is not a regular file\n"


def test_a_link_to_where_nothing_can_be_written_is_refused(jaxgd, tmp_path):
    (tmp_path / "link.st").symlink_to(tmp_path / "nowhere" / "model.st")
    status, _, err = jaxgd("fit", "--model-file", "link.st")
    assert status == 2
    assert err.startswith("jaxgd: cannot write link.st: ")
    assert err.endswith("nowhere is not a directory\n")


def test_a_link_to_itself_is_no_bug(jaxgd, flowers, tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    status, _, err = jaxgd("predict", "nowhere.st", flowers, "--out", "loop.csv")
    assert (status, err) == (2, "jaxgd: No such file or directory: nowhere.st\n")


@pytest.mark.parametrize(
    ("argv", "option"),
    [
        ("fit flowers.csv --model-file ./flowers.csv", "--model-file"),
        ("predict model.st flowers.csv --out link.csv", "--out"),
        ("predict model.st predictions.csv", "--out"),
        ("predict model.st flowers.csv --out model.st", "--out"),
    ],
)
def test_an_input_is_not_written_over(jaxgd, flowers, tmp_path, argv, option):
    (tmp_path / "link.csv").symlink_to(flowers)
    for name in ("model.st", "predictions.csv"):
        (tmp_path / name).write_bytes(b"precious")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = jaxgd(*argv.split())
    assert (status, out) == (2, "")
    assert err.startswith("jaxgd: an output must not replace an input; got ")
    assert err.endswith(f"Name another file with {option}.\n")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_model_predicts_nothing(jaxgd, flowers, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    status, out, err = jaxgd("predict", "model.safetensors", flowers)
    assert (status, out) == (2, "")
    assert err.startswith("jaxgd: model.safetensors is not a jaxgd model, or is damaged")
    assert not (tmp_path / "predictions.csv").exists()


def test_ctrl_c_says_so_and_exits_with_130(jaxgd, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "fit", interrupted)
    status, _, err = jaxgd("compare")
    assert status == 130
    assert err == "jaxgd: interrupted in GD, before its first update; nothing was written\n"
    for reads in ("table", "prepare"):
        monkeypatch.setattr(DataOptions, reads, interrupted)
        for command in ("fit", "compare"):
            status, _, err = jaxgd(command)
            assert status == 130
            assert err.startswith("jaxgd: interrupted before any update was made; no")
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_bug_is_one_line_and_with_debug_a_traceback(jaxgd, monkeypatch):
    def broken(*_, **__):
        raise TypeError("it\nbroke")

    monkeypatch.setattr(comparison, "fit", broken)
    status, _, err = jaxgd("compare")
    assert (status, err) == (
        2,
        "jaxgd: TypeError: it broke. This is a bug in jaxgd: --debug shows where.\n",
    )
    with pytest.raises(TypeError, match="it\nbroke"):
        jaxgd("compare", "--debug")


@pytest.mark.parametrize(
    ("module", "argv", "extra"),
    [
        ("tyro", ["compare"], "cli"),
        ("sklearn", ["compare"], "cli"),
        ("polars", ["fit", "t.csv"], "cli"),
        ("torch", ["notebook"], "torch"),
    ],
)
def test_a_missing_extra_says_what_to_install(tmp_path, module, argv, extra):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    program = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"from jaxgd.cli.__main__ import main; sys.exit(main({argv!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.endswith(f'pip install "jaxgd[{extra}]"\n')
    assert result.stderr.count("\n") == 1
