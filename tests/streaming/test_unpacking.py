"""Unpacked rows are whole or not there, whatever ends the writing, and outlive a crash."""

import resource
from contextlib import suppress
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgd.reliability.faulty_files import Crash, FaultyFiles
from jaxgd.streaming import Source, npy, unpack
from tests.laws.problem import data

N, BLOCK = 203, 60
X, Y = (np.asarray(a) for a in data(N))
SOURCE = Source(lambda rows: (X[rows], Y[rows]), N)
NAMES = ["0.npy", "1.npy"]


def is_whole(directory):
    found = npy(tuple(directory / name for name in NAMES)).rows(np.arange(N, dtype=np.int32))
    return (
        sorted(path.name for path in directory.iterdir()) == NAMES
        and np.array_equal(found[0], X)
        and np.array_equal(found[1], Y)
    )


def folder_of(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name


def operations(tmp_path):
    """How many of them an unpack takes."""
    folder = folder_of(tmp_path, "counted")
    with FaultyFiles(folder) as files:
        unpack(SOURCE, folder / "rows", block=BLOCK)
    return files.operations


@pytest.mark.parametrize("how", ["ENOSPC", "torn"])
def test_at_whatever_operation_the_disk_is_full_nothing_half_is_left(tmp_path, how):
    refused = 0
    for at in range(operations(tmp_path)):
        folder = folder_of(tmp_path, f"{at}")
        with FaultyFiles(folder, at, how):
            try:
                unpack(SOURCE, folder / "rows", block=BLOCK)
            except OSError:
                refused += 1
        left = [path.name for path in folder.iterdir()]
        assert left == [] or (left == ["rows"] and is_whole(folder / "rows"))
    assert refused > 8


def test_after_a_crash_the_rows_are_whole_or_not_there_and_once_unpacked_they_are(tmp_path):
    """Where all or some of what was not synced is lost."""
    count = operations(tmp_path)
    for at in range(count + 1):
        folder = folder_of(tmp_path, f"{at}")
        with FaultyFiles(folder, at, "crash") as files, suppress(Crash):
            unpack(SOURCE, folder / "rows", block=BLOCK)
        for seed in (1, 2, 3, 4):
            files.after_crash(disk := tmp_path / f"disk {at} {seed}", seed)
            there = (disk / "rows").exists()
            assert there or at < count
            assert not there or is_whole(disk / "rows")


def test_files_that_may_not_grow_end_it(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            unpack(SOURCE, tmp_path / "rows", block=BLOCK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_breaks_off_the_reading_leaves_nothing(tmp_path, error):
    def read(rows):
        if 150 in rows:
            raise error
        return X[rows], Y[rows]

    (tmp_path / "rows").mkdir()
    with pytest.raises(error):
        unpack(Source(read, N), tmp_path / "rows", block=BLOCK)
    assert [*tmp_path.rglob("*")] == [tmp_path / "rows"]
    unpack(SOURCE, tmp_path / "rows", block=BLOCK)
    assert is_whole(tmp_path / "rows")


def test_what_cannot_be_unpacked_is_refused_before_it_is_read(tmp_path):
    asked = []

    def read(rows):
        asked.append(rows)
        return X[rows]

    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match=r"directory must be new or empty; got .*npy on the"):
        unpack(Source(read, N), tmp_path)
    with pytest.raises(ValueError, match="block must be an integer of at least 1; got block=0"):
        unpack(Source(read, N), tmp_path / "rows", block=0)
    assert asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_rows_that_a_file_cannot_hold_are_refused(tmp_path):
    half = Source(lambda rows: jnp.asarray(X[rows], jnp.bfloat16), N)
    with pytest.raises(TypeError, match="dtypes that NumPy has; got bfloat16"):
        unchecked(unpack)(half, tmp_path / "half")
    other = Source(lambda rows: Y[rows] if len(rows) == 1 else X[rows], N)
    with pytest.raises(ValueError, match=r"rows must be alike; got float32\[5\] after float32\[\]"):
        unpack(other, tmp_path / "other")
    assert [*tmp_path.iterdir()] == []
