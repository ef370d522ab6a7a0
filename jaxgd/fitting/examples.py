"""The examples that a fit is given, checked, and the order that their rows come in."""

from dataclasses import dataclass, replace
from typing import Any

import jax
from jaxtyping import PyTree

from jaxgd.batches import plan
from jaxgd.fitting.checks import (
    check_data,
    check_key,
    check_like,
    check_read,
    check_together,
    rounded,
)
from jaxgd.fitting.rows import Lying, Rows
from jaxgd.inputs import Padded, check_batch_size, count_spread
from jaxgd.keys import Key
from jaxgd.scale.epochs import DataParallel
from jaxgd.streaming import Source
from jaxgd.streaming.streamed import Reading


@dataclass(frozen=True)
class Examples:
    """n rows, in memory or read from a source, and those held out, in batches of one size.

    Of a source `data` is a sample. `key` is None where neither order nor rows are random;
    `rounded` says what float64 data lost on their way to the device, if anything.
    """

    data: PyTree
    source: Source | None
    n: int
    batch_size: int | None
    key: Key | None
    shuffled: bool
    keyed: bool
    validation: PyTree | None
    rounded: str | None

    @property
    def b(self) -> int:
        """The rows of a full batch."""
        return self.batch_size or self.n

    @property
    def updates(self) -> int:
        """The updates of an epoch."""
        return -(-self.n // self.b)

    @property
    def segments(self) -> tuple[slice, ...]:
        """The plan of an epoch."""
        if self.batch_size is None:
            return (slice(0, self.n),)
        return plan(plain(self.data), self.batch_size, self.n)

    @property
    def on_cpu(self) -> bool:
        """Whether they lie there, or the sample does."""
        return next(iter(jax.tree.leaves(self.data)[0].devices())).platform == "cpu"

    def form(self) -> PyTree:
        """Rows as the loss takes them one by one, for their shapes and dtypes."""
        return self.rows(False, 0).form(1) if self.keyed else plain(self.data)

    def placed(self, parallel: DataParallel | None) -> "Examples":
        """The same where an epoch by several devices, if it is one, takes them.

        Raises ValueError for what it cannot take.
        """
        check_together(parallel, self.batch_size, self.data, self.source is not None, self.keyed)
        if self.validation is not None:
            check_together(parallel, self.batch_size, self.validation, False, False)
        if parallel is None:
            return self
        held_out = None if self.validation is None else parallel.placed(self.validation)
        return replace(self, data=parallel.placed(self.data), validation=held_out)

    def rows(self, lying: bool, end: int) -> Rows | Reading | Lying:
        """The rows of every segment until epoch `end`; `lying` ones stay on their devices."""
        if self.source is not None:
            return Reading(self.source, self.key, self.shuffled, self.keyed, self.segments, end)
        if lying:
            return Lying(self.data, self.key, self.shuffled, self.batch_size is None)
        return Rows(self.data, self.key, self.shuffled, self.keyed)

    def held_out(self) -> Rows | None:
        """The rows held out, as they lie."""
        if self.validation is None:
            return None
        return Rows(self.validation, self.key, shuffled=False, keyed=self.keyed)


def check_examples(
    data: PyTree,
    validation: PyTree | None,
    batch_size: Any,
    key: Any,
    shuffle: bool,
    row_keys: bool,
) -> Examples:
    """The examples of a fit; ValueError or TypeError for any that cannot be trained on.

    What is random needs a key, and a key that is given must be one.
    """
    source = data if isinstance(data, Source) else None
    given = data if source is None else check_read(source, batch_size).sample()
    data = check_data("data", given)
    told = rounded(given, data)
    n = count_spread(data) if source is None else source.n
    b = None if batch_size is None else check_batch_size(batch_size, n)
    shuffled = shuffle and b is not None
    if key is not None or shuffled or row_keys:
        key = check_key(key)
    if validation is not None:
        validation = check_data("validation", validation)
        check_like(plain(validation), plain(data))
    return Examples(data, source, n, b, key, shuffled, row_keys, validation, told)


def plain(data: PyTree) -> PyTree:
    """The arrays of data, padded or not."""
    return data.rows if isinstance(data, Padded) else data
