"""A process's rows of a table are those that `prepare` would give it, and it reads no others."""

from functools import partial

import jax
import numpy as np
import polars as pl
import pytest

from jaxgd.tabular import prepare, read_table, standardizer
from jaxgd.tabular.own_rows import read_own

KEY, N = jax.random.key(3), 200
PARTS = 4


@pytest.fixture(scope="module", params=["csv", "parquet", "npz"])
def path(request, tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)).round(6)
    columns = {"a": x[:, 0], "b": x[:, 1], " c": np.arange(N), "label": x[:, 2] > 0}
    path = tmp_path_factory.mktemp("table") / f"t.{request.param}"
    if request.param == "npz":
        np.savez(path, **{name.strip(): column for name, column in columns.items()})
    else:
        frame = pl.DataFrame(columns)
        frame.write_csv(path) if request.param == "csv" else frame.write_parquet(path)
    return path


def share(part, n):
    return np.array_split(np.arange(n), PARTS)[part]


def test_the_parts_are_those_of_the_whole(path):
    whole = prepare(read_table(path), key=KEY, target="label")
    read = [read_own(path, partial(share, i), key=KEY, target="label") for i in range(PARTS)]
    every = np.concatenate([own.to_train_on for own in read])
    ready = [own.prepared(standardizer(every)) for own in read]
    assert {schema.columns for schema, _ in ready} == {whole.schema.columns}
    for which, theirs in enumerate((whole.train, whole.held_out)):
        for leaf in ("x", "y"):
            ours = np.concatenate([getattr(parts[which].own, leaf) for _, parts in ready])
            np.testing.assert_array_equal(ours, getattr(theirs, leaf))
        np.testing.assert_array_equal(ready[0][1][which].y, theirs.y)


def test_no_more_rows_are_kept_than_lie_between_its_own(path):
    """A quarter of the rows, and up to where the held-out ones of that quarter lie."""
    own = read_own(path, partial(share, 1), key=KEY, target="label")
    assert len(own.x) < N / 3
    assert own.first > 0


def test_an_error_names_the_row_of_the_table(path, tmp_path):
    if path.suffix == ".npz":
        return
    frame = (pl.read_csv if path.suffix == ".csv" else pl.read_parquet)(path)
    frame[120, "a"] = None
    spoilt = tmp_path / path.name
    frame.write_csv(spoilt) if path.suffix == ".csv" else frame.write_parquet(spoilt)
    for part in range(PARTS):
        with pytest.raises(ValueError, match=r"first in row 121\. Fill .* One process alone"):
            read_own(spoilt, partial(share, part), key=KEY, target="label")


def test_what_is_no_feature_is_none_for_any_process(path, tmp_path):
    """Constant columns and ids are dropped as `prepare` drops them; texts are refused."""
    if path.suffix == ".npz":
        return
    frame = (pl.read_csv if path.suffix == ".csv" else pl.read_parquet)(path)
    more = frame.with_columns(one=pl.lit(1.5), row_id=pl.Series(range(N, 0, -1)))
    more = more.with_columns(pl.Series("" if path.suffix == ".csv" else "unnamed", range(N)))
    other = tmp_path / path.name
    more.write_csv(other) if path.suffix == ".csv" else more.write_parquet(other)
    whole = prepare(read_table(other), key=KEY, target="label")
    own = read_own(other, partial(share, 2), key=KEY, target="label")
    assert own.account.dropped == whole.account.dropped
    assert list(own.account.dropped) == ["one", "row_id", "unnamed"]
    assert own.columns == whole.schema.columns
    texts = frame.with_columns(city=pl.lit("x"))
    texts.write_csv(other) if path.suffix == ".csv" else texts.write_parquet(other)
    with pytest.raises(ValueError, match=r"column 'city' of .* holds text, first 'x' in row 1"):
        read_own(other, partial(share, 2), key=KEY, target="label")


def test_columns_that_are_not_there_are_told_as_ever(path):
    with pytest.raises(ValueError, match="has no column 'z'"):
        read_own(path, partial(share, 0), key=KEY, target="z")
