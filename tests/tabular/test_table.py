"""A table's columns: found by name, complete, numbers; or refused in which words."""

import numpy as np
import pytest

from jaxgd.tabular import read_table
from tests.tabular.conftest import table, texts


def test_a_missing_column_names_the_nearest():
    with pytest.raises(ValueError, match=r"no column 'lenght'; the nearest is 'length'"):
        table(width=[1.0], length=[2.0]).column("lenght")


@pytest.mark.parametrize("word", ["", "NaN", "NA", "?"])
def test_missing_values_are_counted_and_located(written, word):
    read = read_table(written(f"a,b\n1,2\n{word},3\n{word},4\n"))
    with pytest.raises(
        ValueError, match=r"column 'a' of .* has 2 missing values, first in row 2\. Fill or drop"
    ):
        read.numbers("a")
    np.testing.assert_array_equal(read.numbers("b"), [2, 3, 4])


def test_a_short_line_reads_as_a_missing_value(written):
    read = read_table(written("a,b\n1,2\n3\n"))
    with pytest.raises(ValueError, match=r"column 'b' of .* has 1 missing value, first in row 2"):
        read.numbers("b")


def test_infinite_values_are_refused():
    with pytest.raises(ValueError, match=r"column 'a' of the table has 1 infinite value, .* row 3"):
        table(a=[0.0, 1.0, np.inf]).numbers("a")


def test_what_is_a_number_in_python_alone_is_text(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,1_000\n")
    with pytest.raises(ValueError, match=r"holds text, first '1_000' in row 2"):
        read_table(tmp_path / "table.csv").matrix(("a", "b"))


def test_a_text_feature_names_the_remedy():
    with pytest.raises(
        ValueError,
        match=r"column 'c' of the table holds text, first 'red' in row 1\. Encode it as numbers",
    ):
        table(c=texts("red", "blue")).numbers("c")
