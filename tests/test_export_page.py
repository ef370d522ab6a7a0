"""docs/export.md: its blocks print what the page shows, and one of them where jaxgd is not."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgd.cli.__main__ import main
from jaxgd.interop import load_predictor
from jaxgd.tabular import breast_cancer, load_model
from tests.tolerances import EXPORTED_F32

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.M | re.S)
COMMANDS = re.search(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)[1].splitlines()
WITHOUT = next(program for program, _ in BLOCKS if "safe_open" in program)

# Another process, in which neither jaxgd nor optax can be imported, from arrays on disk.
ALONE = f"""
import sys
sys.modules["jaxgd"] = sys.modules["optax"] = None
import jax
import numpy as np
arrays = np.load("arguments.npz")
by_name = {{name: arrays[name] for name in arrays.files if name.startswith("state")}}
data, key = (arrays["x"], arrays["y"]), jax.random.key(0)
{WITHOUT}
np.savez("results.npz", **{{name: np.asarray(a) for name, a in found.items()}})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def names(folder):
    """What the page's blocks leave behind, each having printed what stands under it."""
    names, printed = {}, []
    with (
        contextlib.chdir(folder),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        for program, _ in BLOCKS:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(program, "docs/export.md", "exec"), names)
            printed.append(out.getvalue())
    assert printed == [shown for _, shown in BLOCKS]
    return names


@pytest.mark.optax_promotion
def test_the_file_runs_where_jaxgd_is_not_to_the_bits_of_jit(names, folder):
    arguments = {name: np.asarray(leaf) for name, leaf in names["by_name"].items()}
    np.savez(folder / "arguments.npz", x=names["data"][0], y=names["data"][1], **arguments)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    without_asserts = [sys.executable, "-O", "-c", ALONE]  # it must hang on none, JAX's included
    subprocess.run(without_asserts, cwd=folder, check=True, env=environment)
    state, losses = jax.jit(names["run"])(names["state"], names["data"], names["key"])
    with np.load(folder / "results.npz") as results:
        found = [results[name] for name in results.files]
    for ours, theirs in zip(found, jax.tree.leaves((state, losses)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_is_kilobytes(names, folder):
    assert (folder / "run.jaxgd").stat().st_size < 64_000


def test_its_commands_run(folder):
    with contextlib.chdir(folder):
        for command in COMMANDS:
            assert main(shlex.split(command)[1:]) == 0
        model, table = load_model(Path("model.safetensors")), breast_cancer()
        exported = load_predictor("predictor.jaxgd")
    for rows in (slice(0, 569), slice(0, 3)):
        x = table.matrix(model.schema.features)[rows]
        expected = model.predict(table)[rows]
        np.testing.assert_allclose(exported.predict(x), expected, rtol=0, atol=EXPORTED_F32)
