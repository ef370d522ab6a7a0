"""What the tests of tables share: tables in memory and as files."""

import numpy as np
import pytest

from jaxgd.tabular import Table


@pytest.fixture
def written(tmp_path):
    """Writes text or bytes to a file and returns its path."""

    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def table(**columns):
    return Table({name: np.asarray(values) for name, values in columns.items()}, "the table")


def texts(*values):
    return np.array(values, dtype=object)
