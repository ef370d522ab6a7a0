"""A table of numbers as a file."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def table_file(columns: Mapping[str, Any], path: Path) -> bytes:
    """The bytes of a table in the format that the file's name ends in: Parquet, or else CSV."""
    import polars

    frame, file = polars.DataFrame(columns), io.BytesIO()
    if path.suffix.lower() == ".parquet":
        frame.write_parquet(file)
    else:
        frame.write_csv(file)
    return file.getvalue()
