"""The Pythons that are timed side by side: this one, and the newest here with the JAX it gets."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Environment:
    """A Python, and the version of JAX that it has."""

    python: str
    jax: str


def this() -> Environment:
    return Environment(sys.executable, version("jax"))


def newest(folder: Path) -> Environment | None:
    """A virtual environment of the newest Python here, without torch; None if that is this one."""
    found = max(_pythons(), default=None)
    if found is None or found[0] <= sys.version_info[:2]:
        return None
    venv = folder / f"python{'.'.join(map(str, found[0]))}"
    python = str(venv / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([found[1], "-m", "venv", str(venv)], check=True)
    install = [python, "-m", "pip", "install", "-q", "-e", f"{ROOT}[bench-without-torch]"]
    subprocess.run(install, check=True)
    command = [python, "-c", "import importlib.metadata as m; print(m.version('jax'))"]
    return Environment(python, subprocess.check_output(command, text=True).strip())


def _pythons() -> Iterator[tuple[tuple[int, ...], str]]:
    """Every Python 3 on the path or of pyenv, with its version's first two numbers."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += (Path.home() / ".pyenv" / "versions").glob("*/bin")
    for path in (path for folder in folders for path in folder.glob("python3.*")):
        match = re.fullmatch(r"python3\.(\d+)", path.name)
        if match and "shims" not in path.parts and os.access(path, os.X_OK):
            yield (3, int(match[1])), str(path)
