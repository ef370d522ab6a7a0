"""Tables from files: what is read, what is found out, and what is refused in which words."""

import datetime
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from jaxgd.tabular import breast_cancer, read_table
from jaxgd.tabular.target import read_target
from tests.tabular.conftest import texts


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_a_csv_has_numbers_booleans_and_text(written, separator):
    lines = [("a", "b", "c"), ("1", "true", "x"), ("2.5", "false", "y")]
    read = read_table(written("\n".join(separator.join(line) for line in lines)))
    assert list(read.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(read.column("a"), [1.0, 2.5])
    np.testing.assert_array_equal(read.column("c"), texts("x", "y"))
    assert len(read) == 2


def test_a_number_late_in_a_long_column_is_read(written):
    read = read_table(written("a\n" + "1\n" * 5000 + "2.5\n"))
    assert read.column("a")[-1] == 2.5


def test_parquet_keeps_its_columns(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": [True, False], "c": ["x", "y"]})
    frame = frame.with_columns(
        d=pl.col("c").cast(pl.Categorical), e=pl.col("a").cast(pl.Decimal(9, 2))
    )
    frame.write_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert [read.column(name).tolist() for name in "abcde"] == [
        [1, 2],
        [True, False],
        ["x", "y"],
        ["x", "y"],
        [1.0, 2.0],
    ]


def test_npz_columns_of_a_matrix_are_numbered_and_y_is_the_target(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.arange(6.0).reshape(3, 2), y=np.array(["a", "b", "a"]))
    read = read_table(tmp_path / "t.npz")
    assert list(read.columns) == ["x0", "x1", "y"]
    assert read_target(read).target == ("y", "binary", ("a", "b"))


def test_the_bundled_table_is_the_known_one():
    read = breast_cancer()
    assert len(read) == 569
    bunch = load_breast_cancer()
    assert list(read.columns) == [*bunch.feature_names, "diagnosis"]
    np.testing.assert_array_equal(np.column_stack([*read.columns.values()][:-1]), bunch.data)
    assert read.columns["diagnosis"].tolist() == bunch.target_names[bunch.target].tolist()
    target, labels, _ = read_target(read)
    assert target == ("diagnosis", "binary", ("benign", "malignant"))
    assert np.bincount(labels).tolist() == [357, 212]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty\. A table needs a header and rows\."),
        ("a,b\n", r"has no rows"),
        ("a,b\n1,2\n3,4\n5,6,7\n", r"line 4 has 3 fields, the header 2"),
        ("a,a\n1,2\n", r"two columns named 'a'"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", r"is not a readable CSV table: it holds bytes that no"),
    ],
)
def test_a_file_that_is_no_table_is_refused(written, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(written(text))


def test_a_file_of_another_kind_is_refused(written):
    with pytest.raises(ValueError, match=r"must be a \.csv, \.tsv, \.parquet, .* or \.npz file"):
        read_table(written("a\n1\n", "table.xlsx"))
    with pytest.raises(ValueError, match="is not a readable Parquet table"):
        read_table(written("a\n1\n", "table.parquet"))
    with pytest.raises(ValueError, match="is not a readable NPZ file of plain arrays"):
        read_table(written("a\n1\n", "table.npz"))


def test_a_pickle_in_an_npz_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(tmp_path / "t.npz", x=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_table(tmp_path / "t.npz")


def test_npz_columns_of_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 2)), x1=np.ones(3))
    with pytest.raises(ValueError, match=r"t\.npz has two columns named 'x1'\. Give every column"):
        read_table(tmp_path / "t.npz")


def test_complex_and_ragged_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.ones(3) + 1j)
    with pytest.raises(ValueError, match=r"of numbers, booleans or text; 'x' .* is complex128"):
        read_table(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=np.ones(3), y=np.ones(4))
    with pytest.raises(ValueError, match=r"same length; got {'x': 3, 'y': 4}"):
        read_table(tmp_path / "t.npz")


def test_a_parquet_file_at_which_polars_panics_is_refused():
    """Found by `python -m tests.tabular.fuzz parquet`."""
    with pytest.raises(ValueError, match="is not a readable Parquet table"):
        read_table(Path(__file__).parent / "files" / "panics.parquet")


def test_dates_are_dates_in_typed_files_and_where_all_texts_are(written, tmp_path):
    day = datetime.date(2020, 1, 31)
    pl.DataFrame({"day": [day], "text": ["2020-01-31"]}).write_parquet(tmp_path / "t.parquet")
    typed = read_table(tmp_path / "t.parquet")
    assert typed.column("day").tolist() == [datetime.datetime(2020, 1, 31)]
    assert typed.column("text").tolist() == ["2020-01-31"]  # as the file says
    lines = "a,b,c,d\n2020-01-31,31.1.2020,2020-01-31 06:00,01/02/2020\n,,,\n"
    read = read_table(written(lines))
    for name, hour in {"a": 0, "b": 0, "c": 6}.items():
        assert read.column(name).tolist() == [datetime.datetime(2020, 1, 31, hour), None]
    assert read.column("d").dtype == object  # January or February: nobody can tell


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("\ufeffa,é\n1,ö\n".encode(), None),
        ("a,é\n1,ö\n".encode("utf-16"), None),
        ("a,é\n1,ö\n".encode("cp1252"), "cp1252"),
        (b"# who made it\n#\n" + "a,é\n1,ö\n#end\n".encode(), None),
        (gzip.compress("a,é\n1,ö\n".encode(), mtime=0), None),
    ],
)
def test_a_csv_is_read_as_it_is_written(written, content, encoding):
    name = "t.csv.gz" if content.startswith(b"\x1f") else "t.csv"
    read = read_table(written(content, name), encoding=encoding)
    assert {name: column.tolist() for name, column in read.columns.items()} == {
        "a": [1],
        "é": ["ö"],
    }


@pytest.mark.parametrize("text", ["a,é\n1,x\n", "a,b\n1,é\n"])
def test_latin_1_is_told(written, text):
    with pytest.warns(UserWarning, match=r"is not UTF-8 and is read as latin-1\. Name its enc"):
        read = read_table(written(text.encode("latin-1")))
    assert "é" in [*read.columns, *read.column([*read.columns][-1])]


def test_an_encoding_that_does_not_fit_is_refused(written):
    with pytest.raises(ValueError, match=r"must be one of Python's; got 'latin-one'"):
        read_table(written("a\n1\n"), encoding="latin-one")
    with pytest.raises(ValueError, match=r"it is not ascii\. Name its encoding"):
        read_table(written("a\né\n"), encoding="ascii")


def test_typed_files_are_read_with_their_types(tmp_path):
    frame = pl.DataFrame({"a": [1, None], "b": ["01", "02"], "c": [[1], [2]], "d": [True, None]})
    frame.write_ipc(tmp_path / "t.feather")
    frame.write_ipc_stream(tmp_path / "t.arrow")
    frame.write_ndjson(tmp_path / "t.jsonl")
    (tmp_path / "z.jsonl.gz").write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    for path in tmp_path.iterdir():
        read = read_table(path)
        np.testing.assert_array_equal(read.column("a"), [1, np.nan])
        assert read.column("b").tolist() == ["01", "02"]
        assert read.column("d").tolist() == [True, None]
        with pytest.raises(ValueError, match=r"column 'c' of .* is List\(Int64\)\. Convert it"):
            read.column("c")


def test_a_compressed_csv_of_zstandard_is_read(tmp_path):
    path = tmp_path / "t.csv.zst"
    pl.LazyFrame({"a": ["01", "02"], "b": [1, 2]}).sink_csv(path, compression="zstd")
    assert read_table(path).column("a").tolist() == ["01", "02"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "jsonl", "npz", "csv.gz"])
def test_standard_input_is_known_by_its_beginning(kind, tmp_path, monkeypatch):
    path, frame = tmp_path / f"t.{kind}", pl.DataFrame({"a": [1, 2]})
    match kind:
        case "parquet":
            frame.write_parquet(path)
        case "arrow":
            frame.write_ipc(path)
        case "jsonl":
            frame.write_ndjson(path)
        case "npz":
            np.savez(path, a=np.array([1, 2]))
        case _:
            text = frame.write_csv().encode()
            path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    read = read_table(Path("-"))
    assert (read.source, read.column("a").tolist()) == ("standard input", [1, 2])


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("a;b\n1,5;x\n2;y\n", [1.5, 2.0]),
        ("a;b\n1,500;x\n2,250;y\n", [1.5, 2.25]),
        ('a,b\n"1,5",x\n"2,25",y\n', [1.5, 2.25]),
        ('a,b\n"1,234.5",x\n"5,678",y\n', [1234.5, 5678.0]),
        ('a,b\n"1,234",x\n"5,678",y\n', ["1,234", "5,678"]),  # either, and so neither
        ("a,b\n01,x\n10,y\n", ["01", "10"]),
        ('a,b\n"01",x\n"10",y\n', ["01", "10"]),
        ("a,b\n0,x\n10,y\n", [0, 10]),
        ("a,b\n9223372036854775808,x\n2,y\n", [2.0**63, 2.0]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*whole numbers beyond")
def test_numbers_are_what_was_meant(written, lines, values):
    assert read_table(written(lines)).column("a").tolist() == values


def test_types_that_the_first_rows_do_not_show(written):
    """Ten thousand whole numbers, then another kind: nothing is lost."""
    many = "1\n" * 10_000
    assert read_table(written(f"a\n{many}2.5\n")).column("a")[-1] == 2.5
    assert read_table(written(f"a\n{many}n.d.\n")).column("a")[-1] == "n.d."
    assert read_table(written(f"a\n{many}007\n")).column("a")[-1] == "007"
    assert read_table(written(f"a;b\n{many.replace('1', '1;2')}1,5;2\n")).column("a")[-1] == 1.5


def test_names_of_all_kinds(written):
    assert [*read_table(written("is_duplicated_flag,a\n1,2\n")).columns] == [
        "is_duplicated_flag",
        "a",
    ]
    assert [*read_table(written(",a\n1,2\n")).columns] == ["unnamed", "a"]
    assert [*read_table(written(",a,\n1,2,3\n")).columns] == ["unnamed 1", "a", "unnamed 3"]
    assert [*read_table(written("#chrom\tb\n1\t2\n")).columns] == ["#chrom", "b"]


def test_kinds_that_are_known_are_kept(written):
    path = written('a,b,c\n1,"1,234",007\n')
    read = read_table(path, kinds={"a": "category", "b": "number", "c": "number"})
    assert [read.column(name).tolist() for name in "abc"] == [
        ["1"],
        ["1,234"],
        [7],
    ]  # 1.234 or 1234


def test_a_long_header_keeps_its_last_names_and_their_codes(written):
    names = [f"feature_{i}" for i in range(6000)]
    read = read_table(written(f"{','.join(names)}\n{','.join(['007', *names[1:-1], '01'])}\n"))
    assert list(read.names) == names
    assert [read.column(name)[0] for name in (names[0], names[-1])] == ["007", "01"]


def test_decimal_commas_beside_points_are_no_numbers(written):
    read = read_table(written('a,b\n"12,5",1\n1.234,2\n'))
    assert read.column("a").tolist() == ["12,5", "1.234"]
