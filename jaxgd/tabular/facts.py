"""What is seen of a column before anything is made of it."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from jaxgd.tabular.table import missing_in

# What a column becomes features as; text does as a category.
Kind = Literal["number", "boolean", "category", "date"]

_KINDS: dict[str, Kind] = {"b": "boolean", "M": "date"}  # by NumPy's; others are numbers


class Facts(NamedTuple):
    """The kind of a column (None where it has no value), and what its values are like.

    Of values that are there: `constant` if they are all the same, `distinct` if no two are, and
    `counting` if they go up by one from row to row. Whether numbers are distinct is looked at where
    they are whole; `levels` counts the texts of a category.
    """

    kind: Kind | None
    missing: int = 0
    constant: bool = False
    distinct: bool = False
    counting: bool = False
    levels: Mapping[str, int] = MappingProxyType({})


def kind_of(column: np.ndarray) -> Kind | None:
    """What a column holds; None where every value of it is missing."""
    if column.dtype == object:
        present = {type(value) for value in column} - {type(None)}
        if not present:
            return None
        return "boolean" if present <= {bool, np.bool_} else "category"
    if column.dtype.kind in "fM" and missing_in(column).all():
        return None
    return _KINDS.get(column.dtype.kind, "number")


def facts_of(column: np.ndarray) -> Facts:
    """The facts of a column."""
    kind, gone = kind_of(column), missing_in(column)
    missing = int(gone.sum())
    if kind is None:
        return Facts(None, missing)
    present = column[~gone] if missing else column
    if kind in ("category", "boolean") and column.dtype == object:
        levels = Counter(map(str, present.tolist()))
        distinct = len(levels) == len(present)
        return Facts(kind, missing, len(levels) == 1, distinct, False, levels)
    constant = bool(present.min() == present.max())
    if kind != "number":
        return Facts(kind, missing, constant)
    counting, distinct = False, False
    if not constant and np.isfinite(present[0]) and present[0] == np.rint(present[0]):
        steps = np.diff(present.astype(np.float64))
        counting = bool((steps == 1).all())
        whole = present.dtype.kind in "iu" or bool((present == np.rint(present)).all())
        distinct = counting or (whole and len(np.unique(present)) == len(present))
    return Facts(kind, missing, constant, distinct, counting)
