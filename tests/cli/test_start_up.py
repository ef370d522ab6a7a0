"""What a command does before it works: little is imported and compiled, and programs are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgd.cli import kept_programs
from jaxgd.cli.optimizer_options import OPTIMIZERS
from jaxgd.cli.parsing import COMMANDS
from jaxgd.optim.registry import REGISTRY

ROOT = Path(__file__).parents[2]
HEAVY = ("jax", "sklearn", "matplotlib", "torch", "optax")

# What is told without JAX, and with no more than is given here.
TOLD = [
    *([name, "--help"] for name in COMMANDS),
    *([name, "--no-such-option"] for name in COMMANDS),
    ["--version"],
    ["fot"],
    ["fit", "nowhere.csv"],
    ["fit", "t.csv", "--optimizer", "adm"],
    ["fit", "t.csv", "--learning-rate", "-1"],
    ["fit", "t.csv", "--hidden", "0"],
    ["fit", "t.csv", "--seed", "-1"],
    ["fit", "t.csv", "--resume"],
    ["fit", "t.csv", "--model-file", "."],
    ["compare", "nowhere.csv"],
    ["sweep", "nowhere.csv"],
    ["noise", "nowhere.csv"],
    ["influence", "nowhere.csv"],
    ["predict", "nowhere.st", "t.csv"],
    ["evaluate", "nowhere.st", "t.csv"],
    ["show", "nowhere.st"],
    ["export", "nowhere.st"],
]
READ = [
    ["fit", "t.csv", "--target", "zebra"],
    ["fit", "t.csv", "--ignore", "zebra"],
    ["compare", "t.csv", "--target", "zebra"],
    ["sweep", "t.csv", "--target", "zebra"],
    ["noise", "t.csv", "--target", "zebra"],
    ["influence", "t.csv", "--target", "zebra"],
]


def test_arguments_files_and_columns_are_checked_before_jax_is_imported(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y\n" + "1,2,0\n2,1,1\n" * 9)
    program = (
        "import contextlib, io, sys\n"
        "from jaxgd.cli.__main__ import main\n"
        "def wrong(commands, heavy):\n"
        "    for argv in commands:\n"
        "        told = io.StringIO()\n"
        "        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):\n"
        "            try:\n"
        "                status = main(argv)\n"
        "            except SystemExit as exit_:\n"
        "                status = exit_.code or 0\n"
        "        is_told = argv[-1] in ('--help', '--version')\n"
        "        found = sorted(set(heavy) & set(sys.modules))\n"
        "        if found or status != (0 if is_told else 2) or 'a bug' in told.getvalue():\n"
        "            yield argv, status, found, told.getvalue()\n"
        f"print(*wrong({TOLD!r}, {(*HEAVY, 'numpy', 'polars', 'typeguard')!r}), "
        "sep='\\n', end='')\n"
        f"print(*wrong({READ!r}, {HEAVY!r}), sep='\\n', end='')\n"
    )
    assert run([sys.executable, "-c", program], tmp_path).stdout == ""


def test_a_small_fit_imports_and_compiles_little_and_the_next_one_compiles_none(tmp_path):
    """Each program that is compiled is a file of the cache."""
    if not kept_programs._is_new_enough():
        pytest.skip("this jaxlib's own cache is not to be had")
    rows = "".join(f"{i % 7},{i * i % 11},{int(i % 7 > 2)}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    program = (
        "import sys\n"
        "from jaxgd.cli.__main__ import main\n"
        "status = main()\n"
        f"heavy = {set(HEAVY) - {'jax', 'optax'}} & set(sys.modules)\n"
        "sys.exit(status or ' '.join(heavy) or None)\n"
    )
    fit = [sys.executable, "-c", program, "fit", "t.csv", "--epochs", "2", "--lr", "0.1"]
    assert run(fit, tmp_path).stderr == ""
    first = kept(tmp_path), (tmp_path / "model.safetensors").read_bytes()
    assert 5 <= len(first[0]) <= 12
    assert run(fit, tmp_path).stderr == ""
    assert (kept(tmp_path), (tmp_path / "model.safetensors").read_bytes()) == first


def kept(folder):
    return {path.name for path in (folder / "cache" / "jaxgd").iterdir()}


def run(command, folder):
    environment = {name: value for name, value in os.environ.items() if "COMPILATION" not in name}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where programs would be kept, in an environment that says nothing else."""
    monkeypatch.setattr(kept_programs, "_is_new_enough", lambda: True)
    monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
    return tmp_path / "jaxgd"


def directory():
    kept_programs.keep_programs()
    return os.environ.get("JAX_COMPILATION_CACHE_DIR")


def test_programs_are_kept_in_the_users_cache(cache):
    assert directory() == str(cache)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("word", ["false", "0", "False"])
def test_nothing_is_kept_where_the_user_wants_none(cache, word):
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = word
    assert directory() is None
    assert not cache.exists()


def test_a_place_that_the_user_has_told_stays(cache):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = "mine"
    assert directory() == "mine"
    assert not cache.exists()


@pytest.mark.parametrize("obstacle", ["a file", "no home"])
def test_where_nothing_can_be_written_nothing_is_kept_or_said(cache, monkeypatch, obstacle):
    if obstacle == "a file":
        cache.write_text("")
    else:
        os.environ.clear()
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert directory() is None


def test_an_older_jaxlib_keeps_nothing(cache, monkeypatch):
    monkeypatch.setattr(kept_programs, "_is_new_enough", lambda: False)
    assert directory() is None


@pytest.mark.parametrize(("bound", "most"), [("_MOST_PROGRAMS", 3), ("_MOST_BYTES", 30)])
def test_the_oldest_programs_go(cache, monkeypatch, bound, most):
    cache.mkdir()
    for age in range(5):
        (cache / f"{age}-cache").write_bytes(bytes(10))
        os.utime(cache / f"{age}-cache", (0, 1000 - age))
    monkeypatch.setattr(kept_programs, bound, most)
    directory()
    assert {path.name for path in cache.iterdir()} == {"0-cache", "1-cache", "2-cache"}


def test_the_optimizers_on_offer_are_the_packages():
    assert list(OPTIMIZERS) == sorted(REGISTRY.keys() - {"muon"})
