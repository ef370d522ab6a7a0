"""A command line as people write it is understood, and what is not is told in a line or two."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from jaxgd.cli.data_options import DataOptions
from jaxgd.cli.host_options import HostOptions
from jaxgd.cli.parsing import COMMANDS
from jaxgd.cli.settings import check_optimizer
from jaxgd.cli.training_options import TrainingOptions
from jaxgd.cli.words import FLAGS, LISTS, in_order

IN_ORDER = {
    "t.csv --ignore a b": "t.csv --ignore a b",
    "--ignore a b t.csv": "t.csv --ignore a b",
    "--ignore a b t.CSV.gz --seed 1": "t.CSV.gz --ignore a b --seed 1",
    "--ignore=a b t.parquet": "t.parquet --ignore a b",
    "--ignore a -": "- --ignore a",
    "--hidden 16 t.csv": "t.csv --hidden 16",
    "--hidden 16,8 t.csv": "t.csv --hidden 16 8",
    "--hidden=16,8": "--hidden 16 8",
    "--hidden 16, 8": "--hidden 16 8",
    "--learning-rates 0.1,1 --ignore a t.csv": "t.csv --learning-rates 0.1 1 --ignore a",
    "--batch-size all": "--batch-size None",
    "--batch_size all": "--batch-size None",
    "--batch-size=all t.csv": "--batch-size None t.csv",
    # A column may be called like a file.
    "t.csv --ignore b.csv a.csv": "t.csv --ignore b.csv a.csv",
    "--resume t.csv --ignore b.csv a.csv": "--resume t.csv --ignore b.csv a.csv",
    "--no-standardize t.csv --ignore b a.csv": "--no-standardize t.csv --ignore b a.csv",
    "--seed=1 t.csv --ignore b a.csv": "--seed=1 t.csv --ignore b a.csv",
    "--seed 1 t.csv --ignore b a.csv": "--seed 1 t.csv --ignore b a.csv",
    "--ignore a.csv": "--ignore a.csv",
    # An option's own word is no table.
    "--out p.csv --ignore b a.csv": "a.csv --out p.csv --ignore b",
}


@pytest.mark.parametrize("given", IN_ORDER)
def test_the_file_is_not_swallowed(given):
    assert in_order(given.split()) == IN_ORDER[given].split()


def test_a_file_of_any_name_is_not_a_width(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table").write_text("")
    assert in_order(["--hidden", "16", "table"]) == ["table", "--hidden", "16"]
    assert in_order(["--ignore", "a", "table"]) == ["--ignore", "a", "table"]


def options():
    """Every option of every command, and the type of its value."""
    for name in COMMANDS:
        command = getattr(import_module(f"jaxgd.cli.{name}_command"), name)
        for option, parameter in inspect.signature(command).parameters.items():
            if parameter.kind is not parameter.POSITIONAL_ONLY:
                yield option.rstrip("_"), get_type_hints(command)[option]
    for shared in (DataOptions, TrainingOptions, HostOptions):
        yield from get_type_hints(shared).items()


def test_which_options_take_several_words_or_none_is_what_the_commands_say():
    found = {f"--{name.replace('_', '-')}": type_ for name, type_ in options()}
    several = {
        name
        for name, type_ in found.items()
        if any(get_origin(part) is tuple for part in (type_, *get_args(type_)))
    }
    assert several == LISTS
    assert {name for name, type_ in found.items() if type_ is bool} == FLAGS


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Adam", "adam"),
        ("SGD", "sgd"),
        ("SparseAdam", "sparse_adam"),
        ("sparse-adam", "sparse_adam"),
        ("LBFGS", "lbfgs"),
    ],
)
def test_an_optimizer_is_known_by_torchs_name_too(given, meant):
    assert check_optimizer(given, 0.1) == meant


UNREAD = {
    "fot": "there is no command 'fot'; the nearest is fit. See jaxgd --help.",
    "zzz": "there is no command 'zzz'. See jaxgd --help.",
    "fit --epochs 1.5": "Error parsing --epochs",
    "fit --learning-rate 0,1": "['0,1']. See jaxgd fit --help.",
    "fit --epoch 3": "Unrecognized options: --epoch, 3; the nearest is --epochs. See jaxgd fit",
    "fit --task fish": "invalid choice 'fish' for argument '--task'.",
    "fit --hidden 8 x": "'x'",
    "sweep --seed": "--seed",
    "predict m.st": "See jaxgd predict --help.",
}


@pytest.mark.parametrize("command", UNREAD)
def test_what_cannot_be_read_is_a_line_that_names_the_commands_help(jaxgd, command):
    status, out, err = jaxgd(*command.split())
    assert (status, out) == (2, "")
    assert err.startswith("jaxgd: ")
    assert UNREAD[command] in err
    assert err.endswith(f"See jaxgd {command.split()[0]} --help.\n" if " " in command else ".\n")
    assert err.count("\n") == 1
    assert not set(err) & set("│─╭╰")
