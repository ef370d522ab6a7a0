"""Many runs of SGD of linear predictors at once, as an accelerator's kernel takes them."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int


class Runs(NamedTuple):
    """What each run starts from and sees: of r runs the first axis is r, or 1 where all share it.

    A row's number counts into x and y; without numbers the rows come as they lie.
    """

    w: Float[Array, "_ d"]
    b: Float[Array, "_"]
    rate: Float[Array, "_"]
    decay: Float[Array, "_"]
    x: Float[Array, "_ n d"]
    y: Array
    rows: Int[Array, "_ m"] | None = None

    @property
    def number(self) -> int:
        """How many runs there are."""
        return max(array.shape[0] for array in self if array is not None)

    @property
    def m(self) -> int:
        """How many rows each run visits."""
        return self.y.shape[1] if self.rows is None else self.rows.shape[1]
