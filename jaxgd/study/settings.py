"""The settings that are tried: hyper-parameters on a grid or point by point, and batch sizes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from jaxgd.inputs import check_batch_size

Grid = Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]]
Axes = dict[str, Shaped[np.ndarray, "_"]]

_OWN_AXES = ("point", "batch_size", "seed", "epoch")
# What goes by these names climbs where it is negative.
_RATES = ("lr", "learning_rate")


@dataclass(frozen=True)
class Settings:
    """K settings, the k-th `optimizer(**{name: points[name][k]})` with batch size `sizes[k]`.

    `axes` are the names and labels along which they lie, in C order: their lengths' product is K.
    """

    axes: Axes
    points: Axes
    sizes: Int[np.ndarray, "k"]

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Settings":
        """Some of the settings, one after another."""
        rows = np.asarray(rows, int)
        points = {name: values[rows] for name, values in self.points.items()}
        return Settings({"point": rows}, points, self.sizes[rows])

    def point(self, k: int | np.integer) -> dict[str, float]:
        """The k-th setting's arguments of the optimizer."""
        return {name: values[k].item() for name, values in self.points.items()}

    def setting(self, k: int | np.integer) -> dict[str, int | float]:
        """The k-th setting: the optimizer's arguments and `batch_size`."""
        return {**self.point(k), "batch_size": int(self.sizes[k])}


def settings_of(grid: Any, batch_sizes: Any, n: int) -> Settings:
    """The settings of a grid of values by name, or of a list of points, times batch sizes.

    Without batch sizes every point of a list names its own.

    Raises ValueError for values that are no finite real numbers, none at all, or given twice, for
    a negative learning rate, and for a batch size outside [1, n].
    """
    if isinstance(grid, Mapping):
        axes = {name: _distinct(name, _reals(name, values)) for name, values in grid.items()}
        columns: Axes = axes
    else:
        columns = _columns(grid)
        axes = {"point": np.arange(len(grid))}
    if batch_sizes is None:
        return _with_own_sizes(axes, columns, n)
    if taken := set(columns) & set(_OWN_AXES):
        raise ValueError(
            f"the grid must name arguments of the optimizer; got {sorted(taken)}. "
            "Give batch sizes, seeds and epochs by arguments of their own."
        )
    given = _listed("batch_sizes", batch_sizes)
    sizes = _distinct("batch_sizes", np.array([check_batch_size(b, n) for b in given], int))
    axes = {**axes, "batch_size": sizes}
    places = np.meshgrid(*(np.arange(len(labels)) for labels in axes.values()), indexing="ij")
    at = dict(zip(axes, (place.reshape(-1) for place in places), strict=True))
    points = {name: values[at.get(name, at.get("point"))] for name, values in columns.items()}
    return Settings(axes, points, sizes[at["batch_size"]])


def check_optimizers(optimizer: Callable[..., Any], settings: Settings) -> None:
    """Raise what the optimizer raises for a point's values: traced, it could not look at them.

    The points with an argument's least and largest value stand for those between.
    """
    ends = {int(end(v)) for v in settings.points.values() for end in (np.argmin, np.argmax)}
    for k in sorted(ends | {0}):
        made = optimizer(**settings.point(k))
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise TypeError(
                "optimizer(**point) must return an optax transformation; got a "
                f"{type(made).__name__}. Use jaxgd.optim.sgd, or lambda lr: optax.adam(lr)."
            )


def _with_own_sizes(axes: Axes, columns: Axes, n: int) -> Settings:
    if "point" not in axes or "batch_size" not in columns:
        raise ValueError(
            "batch_sizes must be given, or a batch_size by every point of a list; got neither. "
            "Use batch_sizes=(32,)."
        )
    given = (int(b) if b.is_integer() else b for b in columns["batch_size"].tolist())
    sizes = np.array([check_batch_size(b, n) for b in given], int)
    points = {name: values for name, values in columns.items() if name != "batch_size"}
    return Settings(axes, points, sizes)


def _columns(points: Any) -> Axes:
    is_list = isinstance(points, Sequence)
    if not is_list or not all(isinstance(point, Mapping) for point in points):
        raise TypeError(
            f"the grid must be values by name, or a list of points by name; got {points!r}. "
            'Use {"lr": [0.01, 0.1]}, or [{"lr": 0.01}, {"lr": 0.1}].'
        )
    names = {tuple(sorted(point)) for point in points}
    if len(names) != 1:
        raise ValueError(
            f"points must be one or more, all of the same names; got {sorted(names)}. "
            "Give every point a value for every name."
        )
    return {name: _reals(name, [point[name] for point in points]) for name in points[0]}


def _listed(name: str, values: Any) -> list[Any]:
    is_list = isinstance(values, Iterable) and not isinstance(values, str)
    if not is_list or getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{name} must be a list of numbers; got {values!r}. Use [{values}].")
    return list(values)


def _reals(name: str, values: Any) -> np.ndarray:
    listed = np.asarray(_listed(name, values)).tolist()
    bad = [v for v in listed if isinstance(v, bool) or not isinstance(v, Real)]
    bad += [v for v in listed if v not in bad and not math.isfinite(v)]
    if bad or not listed:
        raise ValueError(
            f"{name} must be one or more finite real numbers; got {bad[0] if bad else listed!r}. "
            "What is no number cannot be traced: make a sweep for each."
        )
    if name in _RATES and min(listed) < 0:
        raise ValueError(
            f"{name} must be finite and at least 0; got {name}={min(listed)}. Use 0.05 or so."
        )
    return np.array(listed, float)


def _distinct(name: str, values: np.ndarray) -> np.ndarray:
    if not len(values) or len(np.unique(values)) < len(values):
        raise ValueError(f"{name} must be one or more different numbers; got {values.tolist()}.")
    return values
