"""A table: named columns of one length, and what they may hold."""

import csv
import difflib
import importlib
import importlib.util
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

_CSV, _PARQUET = (".csv", ".tsv"), (".parquet", ".pq")
_READABLE = ".csv, .tsv, .parquet or .npz"

# What people write into a cell that has no value; an empty cell is one anyway.
_MISSING_WORDS = ["NA", "N/A", "NaN", "nan", "null", "NULL", "?"]

# Of polars and its lazy frame of a file, the frame of what is read of it.
Take = Callable[[Any, Any], Any]

# What the columns of the bundled table are of: a mean, an error and a worst value of each.
_MEASURED = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness"),
    *("concavity", "concave points", "symmetry", "fractal dimension"),
)

# Whole numbers up to here are float64's own.
_EXACT = 2.0**53


@dataclass(frozen=True)
class Table:
    """Columns by name, in their order: arrays of numbers or booleans, or of text (dtype object).

    A missing value is NaN in a column of numbers and None in a column of text. `source` names the
    table in errors; `target` is the column to predict where the source itself says so. Of a part of
    a table `first` is the number of its first row in the whole.
    """

    columns: Mapping[str, np.ndarray]
    source: str
    target: str | None = None
    first: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> np.ndarray:
        """The column of that name; ValueError names the nearest if there is none."""
        if name in self.columns:
            return self.columns[name]
        in_lower_case = {known.lower(): known for known in self.columns}
        nearest = difflib.get_close_matches(name.lower(), in_lower_case, n=1)
        hint = f"; the nearest is {in_lower_case[nearest[0]]!r}" if nearest else ""
        raise ValueError(
            f"{self.source} has no column {name!r}{hint}. Its columns are {listed(self.columns)}."
        )

    def complete(self, name: str) -> np.ndarray:
        """The column of that name, every value present and finite; else a ValueError."""
        column = self.column(name)
        if column.dtype == object:
            self._refuse(name, np.array([value is None for value in column]), "missing")
        elif column.dtype.kind == "f":
            self._refuse(name, np.isnan(column), "missing")
            self._refuse(name, np.isinf(column), "infinite")
        return column

    def numbers(self, name: str) -> np.ndarray:
        """The column of that name as float64; ValueError if it is text or not complete."""
        column = self.complete(name)
        if column.dtype == object:
            row = next(i for i, value in enumerate(column) if not _is_number(value))
            raise ValueError(
                f"a feature must be numbers; column {name!r} of {self.source} holds text, first "
                f"{column[row]!r} in row {self.first + row + 1}. Encode it as numbers, or ignore "
                "the column."
            )
        if column.dtype.kind in "iu" and (abs(column.astype(np.float64)) > _EXACT).any():
            _warn_rounded(name, self.source)
        return column.astype(np.float64)

    def matrix(self, names: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """The named columns side by side, in that order, as float64.

        Raises ValueError for no columns and for one that is missing, not complete or text.
        """
        if not names:
            raise ValueError(
                f"a table needs at least one feature beside its target; {self.source}."
            )
        return np.column_stack([self.numbers(name) for name in names])

    def _refuse(self, name: str, bad: np.ndarray, what: str) -> None:
        count = int(bad.sum())
        if count:
            values = "value" if count == 1 else "values"
            raise ValueError(
                f"column {name!r} of {self.source} has {count} {what} {values}, first in row "
                f"{self.first + int(bad.argmax()) + 1}. Fill or drop them, or ignore the column."
            )


def _warn_rounded(name: str, source: object) -> None:
    warnings.warn(
        f"column {name!r} of {source} holds whole numbers beyond 2**53, which are rounded to 53 "
        "bits. If they only name rows, ignore the column.",
        stacklevel=4,
    )


def _is_number(text: Any) -> bool:
    """Whether a cell is a number in a table, too: 1_000 is one in Python alone."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in str(text)


def listed(names: Mapping[str, object], most: int = 8) -> str:
    """The names in quotes, the first few if there are many."""
    quoted = [repr(name) for name in names]
    more = [f"… ({len(quoted)} in all)"] if len(quoted) > most else []
    return ", ".join(quoted[:most] + more)


def read_table(path: Path) -> Table:
    """The table in a CSV (comma, semicolon or tab; with a header), Parquet or NPZ file.

    Of an NPZ every 1-D array is a column of its name, and of a 2-D array `x` column j is
    named `xj`. Nothing is ever unpickled.

    Raises ValueError for a file that is empty, ragged or no table; OSError if it cannot be read.
    """
    readers = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
        ".pq": _read_parquet,
        ".npz": _read_npz,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"a table must be a {_READABLE} file; got {str(path)!r}.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty. A table needs a header and rows.")
    columns = reader(path)
    table = Table(
        columns, str(path), target="y" if reader is _read_npz and "y" in columns else None
    )
    if len(table) == 0:
        raise ValueError(f"{path} has no rows. A table needs at least one row below its header.")
    return table


def breast_cancer() -> Table:
    """The Wisconsin breast-cancer table that scikit-learn bundles: 569 rows, 30 features.

    The target is the text `diagnosis`: benign (357 rows) or malignant (212).
    """
    found = importlib.util.find_spec("sklearn")
    # Its file is read as it lies: to import scikit-learn takes a second.
    package = str(_extra("sklearn").__file__ if found is None else found.origin)
    path = Path(package).parent / "datasets" / "data" / "breast_cancer.csv"
    with path.open(encoding="utf-8") as file:
        _, _, *classes = file.readline().strip().split(",")
        numbers = np.loadtxt(file, delimiter=",")
    names = [
        form.format(what) for form in ("mean {}", "{} error", "worst {}") for what in _MEASURED
    ]
    columns = {name: numbers[:, j].copy() for j, name in enumerate(names)}
    columns["diagnosis"] = np.array(classes, object)[numbers[:, -1].astype(int)]
    return Table(columns, "the bundled breast-cancer table", target="diagnosis")


def _extra(module: str) -> ModuleType:
    """A module of the optional dependencies, or an error that says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'reading tables needs {error.name}: pip install "jaxgd[cli]"', name=error.name
        ) from None


def is_sliceable(path: Path) -> bool:
    """Whether some rows of the file can be read without keeping the others."""
    return path.suffix.lower() in (*_CSV, *_PARQUET)


def read_sliced(path: Path, take: Take) -> dict[str, np.ndarray]:
    """The columns of what `take(polars, lazy frame)` reads of a CSV or Parquet file."""
    return (_read_csv if path.suffix.lower() in _CSV else _read_parquet)(path, take)


def _read_csv(path: Path, take: Take | None = None) -> dict[str, np.ndarray]:
    pl = _extra("polars")
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    named = {"null_values": _MISSING_WORDS, "infer_schema_length": None, "separator": separator}
    try:
        frame = pl.read_csv(path, **named) if take is None else take(pl, pl.scan_csv(path, **named))
    except pl.exceptions.PolarsError as error:
        reason = _ragged_line(path, separator) or _first_sentence(error)
        raise ValueError(f"{path} is not a readable CSV table: {reason}.") from None
    return _columns(frame, path)


def _read_parquet(path: Path, take: Take | None = None) -> dict[str, np.ndarray]:
    pl = _extra("polars")
    try:
        frame = pl.read_parquet(path) if take is None else take(pl, pl.scan_parquet(path))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = _first_sentence(error)
        raise ValueError(f"{path} is not a readable Parquet table: {reason}.") from None
    return _columns(frame, path)


def _columns(frame: Any, path: Path) -> dict[str, np.ndarray]:
    """The columns of a polars frame: numbers where every value is one, else text."""
    columns: dict[str, np.ndarray] = {}
    for series in frame:
        name = series.name.strip()
        if name in columns or "_duplicated_" in name:
            raise _two_columns(path, name.split("_duplicated_")[0])
        columns[name] = _column(series, path)
    return columns


def _column(series: Any, path: Path) -> np.ndarray:
    pl = _extra("polars")
    if str(series.dtype) in ("Int128", "UInt128"):  # which NumPy has not
        _warn_rounded(series.name, path)
        series = series.cast(pl.Float64)
    if series.dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null):
        return series.to_numpy()
    if series.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise ValueError(
            f"a column must be numbers, booleans or text; column {series.name!r} of {path} is "
            f"{series.dtype}. Convert it first."
        )
    text = series.cast(pl.String).str.strip_chars()
    for number in (pl.Int64, pl.Float64):
        parsed = text.cast(number, strict=False)
        if parsed.null_count() == text.null_count():
            return parsed.to_numpy()
    return np.array(text.to_list(), dtype=object)


def _two_columns(path: Path, name: str) -> ValueError:
    return ValueError(f"{path} has two columns named {name!r}. Give every column its own name.")


def _ragged_line(path: Path, separator: str) -> str | None:
    """Which line of a CSV has more fields than its header, if one has."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=separator)
        width = len(next(lines, []))
        for fields in lines:
            if len(fields) > width:
                return f"line {lines.line_num} has {len(fields)} fields, the header {width}"
    return None


def _first_sentence(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


# What zipfile and NumPy raise for an archive that is damaged, encrypted, packed otherwise, or that
# declares more than memory holds.
_NO_NPZ = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, AttributeError,
           TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)  # fmt: skip


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: np.load leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in arrays.files}
    except _NO_NPZ as error:
        reason = _first_sentence(error)
        raise ValueError(f"{path} is not a readable NPZ file of plain arrays: {reason}.") from None
    columns: dict[str, np.ndarray] = {}
    for name, array in named.items():
        if array.ndim not in (1, 2) or array.dtype.kind not in "biufU":
            raise ValueError(
                f"an array must be 1-D or 2-D, of numbers, booleans or text; {name!r} of {path} is "
                f"{array.dtype} with shape {array.shape}."
            )
        if array.dtype.kind == "U":
            array = array.astype(object)
        added = {name: array} if array.ndim == 1 else _numbered(name, array)
        if twice := added.keys() & columns.keys():
            raise _two_columns(path, min(twice))
        columns |= added
    lengths = {name: len(array) for name, array in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all arrays of {path} must have the same length; got {lengths}.")
    return columns


def _numbered(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{j}": matrix[:, j] for j in range(matrix.shape[1])}
