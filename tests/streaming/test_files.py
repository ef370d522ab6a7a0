"""NumPy's, Parquet and Arrow files: the rows that are asked for, and of the file no more."""

import tracemalloc
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import numpy as np
import polars as pl
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.streaming import Source, arrow, blockwise, npy, parquet, unpack
from jaxgd.streaming.blocks import Blocks
from tests.laws.problem import KEY, MOMENTUM, data, leaves, loss, start

N, GROUP, B = 203, 20, 7
X, Y = (np.asarray(a) for a in data(N))
COLUMNS = ([f"x{j}" for j in range(X.shape[1])], "y")
EPOCH = jax.jit(jaxgd.minibatch(loss, MOMENTUM, B))
READERS = {"parquet": parquet, "arrow": arrow}


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    """Segments of 63 rows, so that an epoch has three; the programs are those of test_stream."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table as a Parquet file of eleven row groups, and as an Arrow file."""
    folder = tmp_path_factory.mktemp("tables")
    names = COLUMNS[0]
    frame = pl.DataFrame({"id": range(N), **dict(zip(names, X.T, strict=True)), "y": Y})
    frame.write_parquet(folder / "t.parquet", row_group_size=GROUP)
    frame.write_ipc(folder / "t.arrow", record_batch_size=GROUP)
    return folder


def fitted(source, **options):
    options = {"optimizer": MOMENTUM, "epochs": 2, "batch_size": B, "key": KEY} | options
    return unchecked(jaxgd.fit)(loss, start(MOMENTUM).params, source, **options)


def same(ours, theirs):
    for one, other in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mapped_files_train_as_arrays_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    source = npy({"x": tmp_path / "x.npy", "y": str(tmp_path / "y.npy")})
    rows = np.array([5, 202, 0, 5], np.int32)
    same(source.rows(rows), {"x": X[rows], "y": Y[rows]})
    np.save(tmp_path / "c.npy", X)
    large = npy({"x": tmp_path / "c.npy", "y": tmp_path / "y.npy"}, fits=False)
    same(large.rows(rows), {"x": X[rows], "y": Y[rows]})
    pair = npy((tmp_path / "x.npy", tmp_path / "y.npy"))
    same(fitted(pair).state, fitted((X, Y)).state)


@pytest.mark.parametrize("kind", READERS)
def test_a_table_is_read_by_row_number(table, kind):
    source = READERS[kind](table / f"t.{kind}", COLUMNS, block=GROUP, window=2)
    assert source.n == N
    rows = np.random.default_rng(0).integers(0, N, 300).astype(np.int32)
    same(source.rows(rows), (X[rows], Y[rows]))
    same(source.sample(), (X, Y))


@pytest.mark.parametrize("kind", READERS)
def test_a_table_trains_as_its_rows_in_memory_in_that_order(table, kind):
    source = READERS[kind](table / f"t.{kind}", COLUMNS, block=GROUP, window=3)
    epoch, state = EPOCH, start(MOMENTUM)
    for e in range(2):
        order = blockwise(GROUP, 3)(jax.random.fold_in(KEY, e), N)(np.arange(N))
        for segment in jaxgd.plan((X, Y), B):
            state, _ = epoch(state, (X[order[segment]], Y[order[segment]]))
    same(fitted(source).state, state)


def test_unpacked_it_trains_in_the_order_of_shuffle(table, tmp_path):
    source = parquet(table / "t.parquet", COLUMNS, block=GROUP)
    unpacked = unpack(source, tmp_path / "rows", block=50)
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["0.npy", "1.npy"]
    same(fitted(unpacked).state, fitted((X, Y)).state)


def test_other_row_groups_are_not_read(table, tmp_path):
    """Whose bytes are spoiled: whoever decodes them fails."""
    path = tmp_path / "spoiled.parquet"
    content = bytearray((table / "t.parquet").read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[footer // 2 : footer] = bytes(footer - footer // 2)
    path.write_bytes(content)
    source = parquet(path, COLUMNS, block=GROUP)
    early = np.arange(2 * GROUP, 4 * GROUP, dtype=np.int32)
    same(source.rows(early), (X[early], Y[early]))
    with pytest.raises(pl.exceptions.PolarsError):
        source.rows(np.arange(N - 5, N, dtype=np.int32))


def test_in_its_own_order_each_block_is_read_once_an_epoch():
    asked = []

    def block(start, stop):
        asked.append(start // GROUP)
        return X[start:stop], Y[start:stop]

    order = blockwise(GROUP, 3)
    source = Source(Blocks(block, N, GROUP, 3), N, order)
    at = order(KEY, N)
    for first in range(0, N, 64):
        rows = at(np.arange(first, min(first + 64, N)))
        same(source.rows(rows), (X[rows], Y[rows]))
    assert sorted(asked) == [*range(11)]


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 512)
    d = 256

    def made(rows):
        x = np.sin(rows[:, None].astype(np.float32) * np.arange(1, d + 1, dtype=np.float32))
        return x, rows % 2 == 0

    def wide(params, example):
        return jaxgd.binary_cross_entropy_with_logits(
            jaxgd.linear(params, example[0]), example[1].astype("float32")
        )

    segment, peaks = 512 * d * 8, []
    for n in (10_240, 40_960):
        tracemalloc.start()
        options = {"optimizer": MOMENTUM, "epochs": 1, "batch_size": 64, "key": KEY}
        unchecked(jaxgd.fit)(wide, jaxgd.init_linear(d), Source(made, n), **options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 12 * segment < 40_960 * d * 4 / 3
    assert peaks[1] < peaks[0] + 2 * segment


REFUSED = {
    "no such column": (lambda f: parquet(f / "t.parquet", (["x0", "z"], "y")), r"cannot be read"),
    "no table": (lambda f: parquet(__file__, ("x0", "y")), "cannot be read as a table of"),
    "no array": (lambda f: npy(__file__), r"is no \.npy file of a plain array"),
    "lengths": (lambda f: npy((f / "a.npy", f / "b.npy")), "the same number of examples"),
    "remedy": (lambda f: npy(__file__), r"Write one with numpy\.save"),
    "archive": (lambda f: npy(f / "c.npz"), "is an archive, which cannot be mapped"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(table, name):
    np.save(table / "a.npy", X)
    np.save(table / "b.npy", Y[1:])
    np.savez(table / "c.npz", X)
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make(table)


def test_missing_values_are_told_by_row(tmp_path):
    pl.DataFrame({"x0": [0.5, None, 1.0], "y": [1.0, 0.0, 1.0]}).write_parquet(tmp_path / "t.pq")
    with pytest.raises(ValueError, match=r"finite in float32; got others in 1 rows of .* row 1"):
        parquet(tmp_path / "t.pq", (["x0"], "y")).rows(np.arange(3, dtype=np.int32))
    with pytest.raises(FileNotFoundError):
        parquet(tmp_path / "none.pq", "y")
