"""All settings of a study, in as few programs as pay."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.inputs import check_makes_one, check_params, check_untraced, count_examples
from jaxgd.objective import Loss
from jaxgd.remembered import kept
from jaxgd.study.many_runs import Outcome, kind_of
from jaxgd.study.micro_batches import evaluates_again, shared_programs
from jaxgd.study.parts import Work, free_memory, train_cells
from jaxgd.study.progress import Progress, counted
from jaxgd.study.settings import Settings, check_optimizers, settings_of


class Shared(NamedTuple):
    """A program, by the batch sizes that share it, its micro-batches' size, and in how many parts.

    `why` says what keeps other sizes out, where there are other programs.
    """

    batch_sizes: tuple[int, ...]
    micro_batch: int
    parts: int
    why: str

    def __str__(self) -> str:
        sizes = ", ".join(map(str, sorted(self.batch_sizes)))
        how = f"by micro-batches of {self.micro_batch}" if len(self.batch_sizes) > 1 else "alone"
        parts = f", in {self.parts} parts as memory allows" if self.parts > 1 else ""
        return f"batch size {sizes}: {how}{parts}{f' ({self.why})' if self.why else ''}"


class Group(NamedTuple):
    """Batch sizes that share a program."""

    micro: int
    sizes: tuple[int, ...]
    why: str

    def rows(self, settings: Settings) -> np.ndarray:
        """Which of the settings are in it."""
        return np.flatnonzero(np.isin(settings.sizes, self.sizes))


class Study(NamedTuple):
    """The settings to try, what they share, and the programs that try them."""

    work: Work
    settings: Settings
    groups: tuple[Group, ...]
    seeds: np.ndarray

    def train(
        self,
        settings: Settings,
        epochs: range,
        states: Sequence[PyTree] | None = None,
        *,
        keep: bool = False,
    ) -> tuple[Outcome, list[PyTree], tuple[Shared, ...]]:
        """Train settings over these epochs, each group from its states or from the start.

        Outcomes are [seeds, settings, epochs]; states are a group's each.
        """
        outcomes, order = list[Outcome](), list[np.ndarray]()
        kept, told = list[PyTree](), list[Shared]()
        for i, group in enumerate(self.groups):
            rows = group.rows(settings)
            if not len(rows):
                kept.append(None)
                continue
            before = None if states is None else states[i]
            alone, own = len(group.sizes) == 1, settings.take(rows)
            done = train_cells(self.work, group.micro, alone, own, epochs, before, keep=keep)
            outcomes.append(done.outcome)
            kept.append(done.states)
            order.append(rows)
            told.append(Shared(group.sizes, group.micro, done.parts, group.why))
        back = np.argsort(np.concatenate(order))
        outcome = jax.tree.map(lambda *a: np.concatenate(a, axis=1)[:, back], *outcomes)
        return outcome, kept, tuple(told)

    def survivors(
        self, settings: Settings, states: Sequence[PyTree], keep: np.ndarray
    ) -> list[PyTree]:
        """The states of some of the settings, by group."""
        stays = [np.isin(group.rows(settings), keep) for group in self.groups]
        return [
            None if tree is None else jax.tree.map(lambda a, s=here: a[:, s], tree)
            for here, tree in zip(stays, states, strict=True)
        ]


def study_of(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Any,
    grid: Any,
    batch_sizes: Any,
    seeds: Any,
    total: Callable[[int], int],
    validation: PyTree,
    key_of: Callable[[int], Any],
    devices: Sequence[jax.Device] | None,
    memory: int | float | None,
    progress: bool | Progress,
    name: str,
) -> Study:
    """What is asked for, checked. `total(k)` are the epochs of k settings, all counted together."""
    check_untraced(name, "Call it outside jit, grad and vmap.", params, data, validation)
    n = count_examples(data)
    if validation is not None:
        count_examples(validation)
    check_makes_one(optimizer)
    settings = settings_of(grid, batch_sizes, n)
    check_optimizers(optimizer, settings)
    labels = _checked_seeds(seeds)
    check_params(params)
    epochs = total(len(settings))
    params = jax.tree.map(lambda a: np.asarray(a, jax.numpy.asarray(a).dtype), params)
    keys = [key_of(int(seed)) for seed in labels]
    there = tuple(jax.local_devices() if devices is None else devices)
    work = Work(
        loss,
        optimizer,
        params,
        data,
        validation,
        np.stack([np.asarray(jax.random.key_data(key)) for key in keys]),
        jax.random.key_impl(keys[0]),
        there,
        free_memory(there) if memory is None else memory,
        counted(progress, len(labels) * epochs),
    )
    sizes = tuple(sorted(set(settings.sizes.tolist())))
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params)) * len(labels) * epochs
    again = _evaluates_again(loss, optimizer, settings.point(0), params, data)
    return Study(work, settings, _groups(sizes, n, numbers // len(sizes), again), labels)


def _evaluates_again(
    loss: Loss, optimizer: Callable[..., Any], point: dict[str, float], params: PyTree, data: PyTree
) -> bool:
    """Whether updates evaluate their batch again; found out once for arguments of a kind."""
    known = _known(loss, optimizer)
    kind = tuple(point), kind_of((params, data))
    if kind not in known:
        known[kind] = evaluates_again(loss, optimizer(**point), params, data)
    return known[kind]


@kept
def _known(loss: Loss, optimizer: Callable[..., Any]) -> dict[Any, bool]:
    del loss, optimizer  # the key alone
    return {}


def _groups(sizes: Sequence[int], n: int, numbers: int, again: bool) -> tuple[Group, ...]:
    if again:
        why = "the optimizer evaluates its batch more than once" if len(sizes) > 1 else ""
        return tuple(Group(b, (b,), why) for b in sizes)
    shared = shared_programs(sizes, n, numbers)
    why = "sharing its micro-batches would take longer" if len(shared) > 1 else ""
    return tuple(Group(micro, of, why) for micro, of in shared)


def _checked_seeds(seeds: Any) -> np.ndarray:
    labels = np.asarray(list(seeds) if isinstance(seeds, Iterable) else [])
    if not len(labels) or labels.dtype.kind not in "iu" or len(np.unique(labels)) < len(labels):
        raise ValueError(
            f"seeds must be one or more different integers; got {seeds!r}. Use range(5)."
        )
    return labels
