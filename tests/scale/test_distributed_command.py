"""`jaxgd fit --distributed`: one model file however many processes, and one line where it ends."""

import signal
import time

import numpy as np
import polars as pl
import pytest

from tests.scale.hosts import DEVICES, PATIENCE, TIMEOUT, Process, free_port

pytestmark = pytest.mark.hosts
GONE = f"another is gone or has not answered for {TIMEOUT} s"


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(loc=5, scale=3, size=(400, 4))
    path = tmp_path / "t.csv"
    pl.DataFrame({**{f"f{j}": x[:, j] for j in range(4)}, "y": x @ [1, 2, 3, 4]}).write_csv(path)
    return path


# What only one process has to say, once all have trained.
FAILS = """
from jaxgd.cli import __main__, fit_report

def fails(*_):
    raise ValueError("this one has no room")

fit_report.check_learned = fails
raise SystemExit(__main__.main())
"""


@pytest.fixture
def commands():
    """The processes of one command, in a folder each, so that only the first can have written."""
    started = []

    def start(folder, count, *options, failing=None):
        address = f"127.0.0.1:{free_port()}"
        for i in range(count):
            (folder / str(i)).mkdir(parents=True, exist_ok=True)
            program = ["-c", FAILS] if i == failing else ["-m", "jaxgd"]
            told = ["--optimizer", "sgd", "--lr", 0.05, "--epochs", 20, *options]
            words = [*program, "fit", *map(str, told), "--distributed", "--timeout", TIMEOUT]
            words += ["--coordinator", address, "--processes", count, "--process", i]
            words += ["--model-file", folder / str(i) / "model.safetensors"]
            file = folder / f"process{i}.txt"
            started.append(Process([*map(str, words)], file, devices=DEVICES // count))
        return started[-count:]

    yield start
    for process in started:
        process.cleared()


def test_one_model_file_on_one_and_two_processes(tmp_path, table, commands):
    files = set()
    for count in (1, 2):
        folder = tmp_path / str(count)
        options = table, "--epochs", 3, "--deterministic", "--run", folder / "run"
        processes = commands(folder, count, *options)
        assert {process.ends() for process in processes} == {0}, processes[0].said
        assert "R²" in processes[0].said
        assert all("R²" not in process.said for process in processes[1:])
        assert not (folder / "1" / "model.safetensors").exists()
        files.add((folder / "0" / "model.safetensors").read_bytes())
    assert len(files) == 1


def test_an_error_in_the_rows_of_one_ends_all(tmp_path, table, commands):
    lines = table.read_text().splitlines()
    lines[390] = "no number" + lines[390][lines[390].index(",") :]
    table.write_text("\n".join(lines))
    processes = commands(tmp_path, 2, table)
    assert [process.ends() for process in processes] == [2, 2]
    told = sorted(process.last_line for process in processes)
    assert told[0].startswith("jaxgd: a feature must be numbers; column 'f0'")


def test_an_error_that_one_has_by_itself_ends_the_other_in_time(tmp_path, table, commands):
    processes = commands(tmp_path, 2, table, "--epochs", 1, failing=1)
    assert processes[1].ends() != 0
    began = time.monotonic()
    assert processes[0].ends(PATIENCE) == 1
    print(f"ended after {time.monotonic() - began:.1f} s, with status {processes[1].ends()}")
    assert "jaxgd: this one has no room" in processes[1].said
    assert GONE in processes[0].last_line


@pytest.mark.parametrize(
    ("struck", "number", "status"),
    [(1, signal.SIGKILL, 1), (0, signal.SIGKILL, 1), (1, signal.SIGTERM, 143)],
    ids=["killed worker", "killed coordinator", "SIGTERM to one"],
)
def test_it_ends_with_a_line_and_goes_on(tmp_path, table, commands, struck, number, status):
    run = tmp_path / "run"
    options = table, "--epochs", 100000, "--batch-size", 8, "--run", run
    processes = commands(tmp_path, 2, *options)
    while not (run / "history.jsonl").exists():
        assert processes[0].popen.poll() is None, processes[0].said
    processes[struck].send(number)
    assert processes[1 - struck].ends(PATIENCE) == status
    line = processes[1 - struck].last_line
    assert processes[struck].ends(PATIENCE) in (-signal.SIGKILL, 143)
    if number == signal.SIGKILL:
        assert line.startswith("jaxgd: process")
        assert GONE in line
        assert "with --resume" in line
    else:
        assert line.startswith("go on with: python -m jaxgd fit")
        assert len([*run.glob("checkpoint-*")]) == 1
