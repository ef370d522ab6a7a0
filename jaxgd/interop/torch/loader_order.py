"""One order of rows for both sides: a DataLoader's for jaxgd, and jaxgd's for a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    import torch


def dataloader_order(
    generator: int | torch.Generator | None,
    n: int,
    epochs: int,
    *,
    batch_size: int | None = None,
    drop_last: bool = False,
    persistent_workers: bool = False,
) -> Int[np.ndarray, "epochs rows"]:
    """The rows in the order in which a shuffling DataLoader visits them, epoch by epoch.

        DataLoader(dataset, batch_size, shuffle=True, drop_last=drop_last, generator=generator)

    One generator serves the loader and its sampler. Each epoch draws three times from it: a base
    seed for the workers (even without workers; once for all epochs if they persist), the
    permutation of n rows, and a second permutation that nobody sees, when the sampler runs out. So
    the order of the later epochs depends on all three, and a bare `randperm` is wrong from the
    first epoch on. num_workers does not change the order.

    generator: the seed of the torch.Generator that the loader was given, or such a generator as it
        is now, which is left as it is. None: the loader has none and draws from torch's global one,
        as it is now; only right if nothing else (initialisation, dropout) draws in between.
    batch_size, drop_last: with drop_last, rows = n - n % batch_size.
    The loop must run every epoch to its end, as `for batch in loader` does.

    Departs from torch.utils.data.DataLoader: nothing; torch's own RandomSampler draws the rows.
    Needs torch: ModuleNotFoundError without.
    """
    if n < 1 or epochs < 0:
        raise ValueError(
            f"An order has at least one row and no negative number of epochs; got n={n} and "
            f"epochs={epochs}. Pass len(dataset) and the epochs to run."
        )
    if drop_last and (batch_size is None or not 1 <= batch_size <= n):
        raise ValueError(
            "drop_last drops what is left of n rows in batches of batch_size, in [1, n]; "
            f"got batch_size={batch_size} with n={n}. Pass the loader's batch_size."
        )
    torch = _torch()
    rows = n - n % batch_size if drop_last and batch_size else n
    own = None if generator is None else _copy(torch, generator)
    with torch.random.fork_rng(devices=[]) if own is None else nullcontext():
        sampler = torch.utils.data.RandomSampler(range(n), generator=own)
        order = np.empty((epochs, n), np.int32)
        for epoch in range(epochs):
            if epoch == 0 or not persistent_workers:
                torch.empty((), dtype=torch.int64).random_(generator=own)  # the workers' base seed
            order[epoch] = list(sampler)
    return order[:, :rows]


class OrderSampler:
    """A sampler for torch's DataLoader that visits the rows in a given order.

        DataLoader(dataset, batch_size, sampler=OrderSampler(order))

    Each pass over it is the next epoch, beginning with `epoch`; set `epoch` to resume elsewhere.
    order: integers [epochs, rows], or a function of the epoch that returns integers [rows], e.g.
        `lambda epoch: shuffle(jax.random.fold_in(key, epoch), n)`.

    An iterable with a length, which is what DataLoader asks of a sampler: torch is not imported.
    IndexError past the last epoch.
    """

    def __init__(self, order: object | Callable[[int], object], *, epoch: int = 0) -> None:
        self.epoch = epoch
        self._order = order if callable(order) else _checked(order)

    def __len__(self) -> int:
        return len(self._rows(self.epoch if callable(self._order) else 0))

    def __iter__(self) -> Iterator[int]:
        rows = self._rows(self.epoch)
        self.epoch += 1
        return iter(rows.tolist())

    def _rows(self, epoch: int) -> Int[np.ndarray, " rows"]:
        """The rows of one epoch."""
        if callable(self._order):
            return _checked(self._order(epoch), ndim=1)
        if epoch >= len(self._order):
            raise IndexError(
                f"The order has {len(self._order)} epochs; epoch {epoch} was asked for. "
                "Make a longer one, or give a function of the epoch."
            )
        return self._order[epoch]


def _checked(order: object, ndim: int = 2) -> Int[np.ndarray, "..."]:  # noqa: UP037
    """The order as an array of integers."""
    array = np.asarray(order)
    if array.dtype.kind not in "iu" or array.ndim != ndim:
        shape = "[epochs, rows]" if ndim == 2 else "[rows]"
        raise TypeError(
            f"An order is an array of integers {shape}; got {array.dtype}{list(array.shape)}. "
            "Give the rows of one epoch after the other, or a function of the epoch."
        )
    return array


def _copy(torch: ModuleType, generator: int | torch.Generator) -> torch.Generator:
    """A generator of one's own in the state of the given one."""
    own = torch.Generator()
    if isinstance(generator, int):
        return own.manual_seed(generator)
    own.set_state(generator.get_state())
    return own


def _torch() -> ModuleType:
    """The torch module; an error that says what to install without it."""
    try:
        import torch
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "The order of a DataLoader is drawn by torch, which is not installed. "
            "Install jaxgd[torch]."
        ) from missing
    return torch
