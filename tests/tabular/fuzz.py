"""Tables made by a fuzzer that follows the reader's branches; its package is asked for first.

    pip install atheris
    python -m tests.tabular.fuzz csv 120          npz, parquet: SECONDS

It ends with the first input that is neither read as finite numbers nor refused in a sentence, or
that takes 20 seconds or 4 GB, and leaves it in crash-*; with none, it says how many it has tried.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["jaxgd.tabular"]):
    from jaxgd.tabular.reading import read_table

COLUMNS = {"a": np.array([0.5, -3.0, 1e300]), "b": np.array([1.0, 2.0, 3.0])}


def seed(path: Path) -> None:
    """A table to begin with."""
    if path.suffix == ".csv":
        path.write_text("a,b\n0.5,1\n-3,2\n1e300,3\n")
    elif path.suffix == ".npz":
        np.savez(path, **COLUMNS)
    else:
        import polars as pl

        pl.DataFrame(COLUMNS).write_parquet(path)


def main(kind: str, seconds: str) -> None:
    place = Path(tempfile.mkdtemp())
    corpus = place / "corpus"
    corpus.mkdir()
    seed(corpus / f"seed.{kind}")
    path = place / f"table.{kind}"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            table = read_table(path)
            numbers = table.matrix(tuple(table.columns))
        except (ValueError, OSError):
            return
        assert np.isfinite(numbers).all(), "values that are not finite"

    warnings.simplefilter("ignore")
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
