"""Arrays whose axes have names and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

# Labels of floats are found though they were rounded to float32.
_CLOSE = 1e-6


@dataclass(frozen=True)
class Labelled:
    """Values, and their axes in order: each a name and the labels along it.

    `np.asarray(labelled)` are the values; `xarray.DataArray(l.values, l.axes)` is the same there.
    """

    values: Shaped[np.ndarray, "..."]
    axes: Mapping[str, np.ndarray]

    @property
    def dims(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """How many labels each axis has."""
        return self.values.shape

    def sel(self, **labels: Any) -> "Labelled":
        """What stands at these labels: `sel(batch_size=32, epoch=[1, 20])`.

        One label takes its axis away, several keep it. Raises ValueError for one that is not there.
        """
        return self.isel(**{name: self._position(name, label) for name, label in labels.items()})

    def isel(self, **positions: Any) -> "Labelled":
        """What stands at these positions along the axes: `isel(epoch=-1)`."""
        found = self
        for name, position in positions.items():
            axis = found._axis(name)
            values = np.asarray(np.take(found.values, position, axis=axis))
            axes = {**found.axes, name: found.axes[name][position]}
            found = Labelled(values, {n: a for n, a in axes.items() if np.ndim(a)})
        return found

    def over(self, name: str, reduction: Any = np.mean) -> "Labelled":
        """A reduction along one axis, such as the mean or `partial(np.std, ddof=1)`."""
        values = np.asarray(reduction(self.values, axis=self._axis(name)))
        return Labelled(values, {n: labels for n, labels in self.axes.items() if n != name})

    def columns(self, name: str = "value") -> dict[str, np.ndarray]:
        """A long table: a column of labels for each axis, and one of the values."""
        places = np.indices(self.shape).reshape(self.values.ndim, -1)
        labels = zip(self.axes.items(), places, strict=True)
        return {n: along[place] for (n, along), place in labels} | {name: self.values.reshape(-1)}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    def _axis(self, name: str) -> int:
        if name not in self.axes:
            raise ValueError(f"an axis must be one of {list(self.axes)}; got {name!r}.")
        return list(self.axes).index(name)

    def _position(self, name: str, label: Any) -> Any:
        if np.ndim(label):
            return [self._position(name, one) for one in label]
        self._axis(name)  # raises where there is none
        labels = self.axes[name]
        near = np.isclose(labels.astype(float), float(label), rtol=_CLOSE, atol=0)
        if not near.any():
            raise ValueError(
                f"{name} must be one of {labels.tolist()}; got {label}. Use isel for positions."
            )
        return int(near.argmax())
