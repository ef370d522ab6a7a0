"""The table that is there without a file."""

import importlib.util
from contextlib import suppress
from pathlib import Path

import numpy as np

from jaxgd.tabular.extras import extra
from jaxgd.tabular.table import Table

# What the columns of the bundled table are of: a mean, an error and a worst value of each.
_MEASURED = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness"),
    *("concavity", "concave points", "symmetry", "fractal dimension"),
)


def breast_cancer() -> Table:
    """The Wisconsin breast-cancer table that scikit-learn bundles: 569 rows, 30 features.

    The target is the text `diagnosis`: benign (357 rows) or malignant (212).
    """
    found = None
    with suppress(ModuleNotFoundError):
        found = importlib.util.find_spec("sklearn")
    # Its file is read as it lies: to import scikit-learn takes a second.
    package = str(extra("sklearn").__file__ if found is None else found.origin)
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
