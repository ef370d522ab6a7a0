"""What a user sets for a run, checked before any data are read and before JAX is there."""

import os
from pathlib import Path
from typing import Literal

from jaxgd.arguments import check_rate
from jaxgd.cli.optimizer_options import meant_by

# Predictions and pictures are of a size that is not known before.
_SMALL = 2**16


def check_seed(seed: int) -> None:
    """ValueError unless the seed is in [0, 2**32)."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer in [0, 2**32); got seed={seed}.")


def check_optimizer(name: str, learning_rate: float | Literal["auto"]) -> str:
    """The name on offer that is meant: SparseAdam is sparse_adam.

    ValueError for another name or a bad learning rate.
    """
    if learning_rate != "auto":
        check_rate(learning_rate)
    return meant_by(name)


def writable(path: Path) -> Path:
    """The path, if a file may be put there; its folder may be missing, see `make_room`."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write {path}: it is not a regular file")
    directory = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    while not path.is_symlink() and not directory.exists():
        directory = directory.parent
    if not directory.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {directory} is not a directory")
    if not os.access(directory, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission to write in {directory}")
    return path


def make_room(path: Path, size: int = _SMALL) -> None:
    """Make a file's folder where it is missing, and raise OSError unless the file will fit there.

    Every command does so once its input is checked, before it computes anything.
    """
    from jaxgd.storage.reservation import check_room

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_room(path, size)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from None


def check_replaces_no_input(path: Path, option: str, *inputs: Path) -> None:
    """ValueError if the file to write, by whatever name, is one of those that are read."""
    if path.exists() and any(map(path.samefile, inputs)):
        raise ValueError(
            f"an output must not replace an input; got {path} for both. "
            f"Name another file with {option}."
        )


def check_replaces_nothing(path: Path, option: str, force: bool) -> None:
    """FileExistsError if there is a file already, unless the user wants it replaced."""
    if path.exists() and not force:
        raise FileExistsError(
            f"{path} is there already. Name another file with {option}, or replace it with --force."
        )
