"""No signal is lost: not in a callback that forgets exceptions, not while a program runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgd import batches
from jaxgd.cli import comparison, terminal
from jaxgd.cli.interrupts import Signalled, signals_heard
from jaxgd.cli.terminal import progress_bar

ROOT = Path(__file__).parents[2]


class Interrupting:
    """Its end is a moment in which Python prints exceptions and forgets them."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def let_go():
    Interrupting()
    for _ in range(1000):
        time.sleep(0.001)


def test_a_signal_in_a_callback_that_forgets_exceptions_is_raised_again():
    before = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    with pytest.raises(Signalled) as caught, signals_heard():
        let_go()
    assert caught.value.number == signal.SIGINT
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before


def test_a_second_signal_ends_a_process_that_does_not_listen():
    program = (
        "import os, signal, time\n"
        "from jaxgd.cli.interrupts import signals_heard\n"
        "with signals_heard():\n"
        "    signal.signal(signal.SIGINT, lambda *_: None)\n"
        "    for _ in range(2):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "jaxgd: stopped at once; what was saved before stays as it was\n"


@pytest.fixture
def interrupt_at(monkeypatch):
    """Sends the command a real signal once it has come to a position."""

    def interrupt(command, number, *position):
        def bar(*named):
            whole = progress_bar(*named)
            enter = whole.__enter__

            def told():
                report = enter()

                def also(now):
                    if (now.epoch, now.update) == position:
                        os.kill(os.getpid(), number)
                    report(now)

                return also

            whole.__enter__ = told
            return Bar(told, whole.__exit__)

        monkeypatch.setattr(command, "progress_bar", bar)

    return interrupt


class Bar:
    def __init__(self, enter, leave):
        self.enter, self.leave = enter, leave

    def __enter__(self):
        return self.enter()

    def __exit__(self, *error):
        return self.leave(*error)


TABLE = ["flowers.csv", "--target", "kind", "--ignore", "id", "--epochs", "3"]
FIT = ["fit", *TABLE, "--optimizer", "sgd", "--learning-rate", "0.05"]


def test_a_run_that_is_interrupted_and_gone_on_with_ends_in_the_same_file(
    jaxgd, flowers, tmp_path, monkeypatch, interrupt_at
):
    """By ctrl-C, and then by SIGTERM, in two epochs."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)  # three segments an epoch
    command = [*FIT, "--hidden", "3", "--run", "runs/one"]
    assert jaxgd(*command, "--run", "runs/whole", "--model-file", "whole.st").status == 0
    (tmp_path / "model.safetensors").write_bytes(b"the old one")
    command.append("--force")
    for number, status, epoch, update in ((signal.SIGINT, 130, 1, 4), (signal.SIGTERM, 143, 2, 2)):
        interrupt_at(terminal, number, epoch, update)
        found, out, err = jaxgd(*command)
        assert (found, "model:" in out) == (status, False)
        assert err.splitlines()[0] == (
            f"jaxgd: interrupted in epoch {epoch} (counted from 0), after {update} of its 8 "
            "updates, of 3 epochs; saved in runs/one"
        )
        command = err.splitlines()[1].removeprefix("go on with: python -m jaxgd ").split()
        assert command[-1] == "--resume"
        assert command.count("--resume") == 1
        assert (tmp_path / "model.safetensors").read_bytes() == b"the old one"
    interrupt_at(terminal, signal.SIGTERM)
    assert jaxgd(*command).status == 0
    ours, theirs = tmp_path / "model.safetensors", tmp_path / "whole.st"
    assert ours.read_bytes() == theirs.read_bytes()
    history = (tmp_path / "runs/one/history.jsonl").read_bytes()
    assert history == (tmp_path / "runs/whole/history.jsonl").read_bytes()
    assert len(history.splitlines()) == 9


def test_without_a_run_it_says_that_nothing_was_saved(jaxgd, flowers, tmp_path, interrupt_at):
    interrupt_at(terminal, signal.SIGINT, 1, 0)
    status, out, err = jaxgd(*FIT)
    assert (status, "model:" in out) == (130, False)
    assert err == (
        "jaxgd: interrupted after 1 epoch, of 3 epochs; nothing was saved (--run DIRECTORY would)\n"
    )
    assert list(tmp_path.iterdir()) == [flowers]


def test_compare_says_where_it_was(jaxgd, flowers, tmp_path, interrupt_at):
    interrupt_at(comparison, signal.SIGINT, 2, 0)
    status, out, err = jaxgd("compare", *TABLE)
    assert (status, out) == (130, "")
    assert err == "jaxgd: interrupted in GD, after 2 epochs; nothing was written\n"
    assert not any(path.is_file() for path in tmp_path.rglob("*") if path != flowers)


OTHERS = {
    "--hidden 4": (
        "the model (--hidden, or the table's features) was params.w float32[2], params.b "
        "float32[], is params[0].w float32[2, 4], params[0].b float32[4], params[1].w "
        "float32[4, 1], params[1].b float32[1]"
    ),
    "--batch-size 8 --learning-rate 0.1": (
        "--batch-size was 32, is 8; --learning-rate was 0.05, is 0.1"
    ),
    "--seed 1 --precision highest": (
        "the rows to train on are others; --seed is another; --precision was default, is highest; "
        "the held-out rows are others"
    ),
    "--patience 3": (
        "the held-out rows are others; --patience (and --min-change) was None, is [3, 0.0]"
    ),
}


def test_a_run_belongs_to_its_options(jaxgd, flowers):
    command = [*FIT, "--run", "r"]
    assert jaxgd(*command).status == 0
    status, _, err = jaxgd(*command)
    assert status == 2
    assert err == (
        "jaxgd: --run must be a directory without checkpoints; r has some. "
        "Use --resume to go on from the newest, or another --run.\n"
    )
    status, out, _ = jaxgd(*command, "--resume")  # it is done, and its model is made again
    assert status == 0
    assert "24 updates by sgd, learning rate 0.05; since the checkpoint: 0.000 s after" in out
    for options, changed in OTHERS.items():
        status, _, err = jaxgd(*command, "--resume", *options.split())
        assert status == 2
        assert err.startswith(
            "jaxgd: --resume goes on with the run's own training; in r/checkpoint"
        )
        told = err.partition(".safetensors ")[2]
        assert told == f"{changed}. Use the same options, or another --run to begin anew.\n"


def test_resume_needs_a_run(jaxgd):
    status, _, err = jaxgd("fit", "--resume")
    assert (status, err) == (
        2,
        "jaxgd: --resume goes on from a run's checkpoints; got no --run DIRECTORY.\n",
    )


def test_a_reader_that_has_gone_changes_nothing(flowers, tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "jaxgd", *FIT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "model.safetensors").exists()


def test_patience_keeps_the_best_model_and_says_so(jaxgd, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 40))
    np.savez(tmp_path / "noisy.npz", x=x, y=x[:, 0] + rng.normal(size=60))
    options = ["fit", "noisy.npz", "--batch-size", 8, "--learning-rate", 0.01, "--epochs", 500]
    options += ["--optimizer", "sgd", "--valid", 0.2]
    status, out, _ = jaxgd(*options, "--patience", 3)
    assert status == 0
    assert "\nstopped after " in out
    assert "epochs: the validation loss fell no more for 3\n" in out
