"""Tables made at random, well-formed and not: the values that were written, or a refusal."""

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jaxgd.reliability.failing_operations import Outcome
from jaxgd.tabular.reading import read_table

_PIECES = (
    b"", b",", b";", b"\t", b"\n", b"\r\n", b'"', b'""', b"\0", b"\xff\xfe", b"nan", b"inf",
    b"1e999", b"-0", b"9" * 40, b"0x10", b"1_000", b"NA", b"null", "é".encode(), b"\xef\xbb\xbf",
    b"=1+1", b"true", b" 1 ", b"1.5.2", b"2020-01-01", b"__class__", b"a" * 5000,
)  # fmt: skip


def tables(count: int, seed: int = 0, first: int = 0) -> Iterator[Outcome]:
    """What comes of so many tables: every other one as it was written, the rest damaged."""
    with TemporaryDirectory() as place:
        for number in range(first, first + count):
            chance = random.Random(f"{seed} {number}")
            x = _values(chance)
            path = Path(place) / f"table.{('csv', 'npz', 'parquet')[number % 3]}"
            _write(path, x)
            as_written = chance.random() < 0.5
            if not as_written:
                _damage(path, chance)
            what = f"{path.suffix} (number {number}, seed {seed})"
            yield _read(path, what, x if as_written else None)


def _read(path: Path, what: str, written: np.ndarray | None) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = read_table(path)
            x = table.matrix(tuple(table.columns))
    except (ValueError, OSError) as error:
        return Outcome("tables", what, "refused" if written is None else "lost", str(error))
    except Exception as error:
        return Outcome("tables", what, "crashed", f"{type(error).__name__}: {error}")
    if written is not None and not np.array_equal(x, written):
        return Outcome("tables", what, "wrong", f"{x} is not {written}")
    if not np.isfinite(x).all():
        return Outcome("tables", what, "wrong", "values that are not finite")
    return Outcome("tables", what, "right")


def _values(chance: random.Random) -> np.ndarray:
    rng = np.random.default_rng(chance.randrange(2**32))
    shape = (chance.randint(1, 6), chance.randint(1, 4))
    x = rng.normal(size=shape) * 10.0 ** rng.integers(-300, 300, shape)
    return np.rint(rng.normal(size=shape) * 1e3) if chance.random() < 0.3 else x


def _write(path: Path, x: np.ndarray) -> None:
    names = [f"x{j}" for j in range(x.shape[1])]
    if path.suffix == ".npz":
        np.savez(path, **dict(zip(names, x.T, strict=True)))
    elif path.suffix == ".csv":
        lines = [",".join(names), *(",".join(map(repr, row)) for row in x.tolist())]
        path.write_text("\n".join(lines) + "\n")
    else:
        import polars as pl

        pl.DataFrame(dict(zip(names, x.T, strict=True))).write_parquet(path)


def _damage(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0 if at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            case 1:
                del content[at:]
            case 2:
                content[at : at + chance.randrange(4)] = chance.choice(_PIECES)
            case _:
                content[at:at] = chance.choice(_PIECES)
    path.write_bytes(content)
