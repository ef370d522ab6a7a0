"""Successive halving: what does badly is let go, and what stays goes on in narrower programs."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.inputs import check_count
from jaxgd.objective import Loss
from jaxgd.study.groups import study_of
from jaxgd.study.labelled import Labelled
from jaxgd.study.many_runs import Outcome
from jaxgd.study.progress import Progress
from jaxgd.study.settings import Grid, Settings
from jaxgd.study.sweeps import Best, best_of


class Rung(NamedTuple):
    """Settings that went on together, by number, to the end of this epoch, and their final losses.

    A loss is the mean over the seeds, infinite where one has diverged.
    """

    settings: np.ndarray
    epoch: int
    loss: np.ndarray


@dataclass(frozen=True)
class Halving:
    """What came of each setting for as long as it stayed.

    `losses`, and `validation_losses` if there are any, have the axes (setting, seed, epoch), NaN
    after a setting's last. `spent` counts epochs of settings, each with all seeds.
    """

    settings: Settings
    rungs: tuple[Rung, ...]
    losses: Labelled
    validation_losses: Labelled | None
    spent: int

    @property
    def best(self) -> Best:
        """The setting of the lowest final loss of those that stayed, a mean over all seeds.

        Raises FloatingPointError where every one of them has diverged with some seed.
        """
        judged = self.losses if self.validation_losses is None else self.validation_losses
        last = self.rungs[-1]
        diverged = np.isinf(last.loss)[:, None]
        final = np.where(diverged, np.inf, judged.values[last.settings, :, -1])
        return best_of(self.settings.take(last.settings), final, lambda _: ())


def successive_halving(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    *,
    optimizer: Callable[..., Any],
    grid: Grid,
    batch_sizes: Sequence[int] | None,
    seeds: Sequence[int],
    budget: int,
    rungs: int = 3,
    validation: PyTree = None,
    key_of: Callable[[int], Any] = jax.random.key,
    devices: Sequence[jax.Device] | None = None,
    memory: int | float | None = None,
    progress: bool | Progress = False,
) -> Halving:
    """The best of K settings within a budget: at each rung the worse ones are let go.

        rung r = 0 … R-1:  ⌈K^(1 - r/R)⌉ settings, budget/R epochs in all, evenly shared

    The budget counts epochs of settings, each with all seeds, and is never exceeded. Settings are
    judged by the mean over the seeds of the validation loss, or without validation rows of the
    epoch's own; one that diverged is let go first. Who stays goes on from its state, gathered into
    a program of fewer runs: its losses are `sweep`'s of the same cell. Everything else is as there.

    Source: Karnin, Koren and Somekh (2013); Jamieson and Talwalkar (2016), arXiv 1502.07943.
    Departs from them: the number of rungs is given and not the factor, since each is a program.

    Warns where nothing that stayed is finite with every seed.

    Raises ValueError for a budget that does not give every setting one epoch.
    """
    budget, rungs = check_count("budget", budget), check_count("rungs", rungs)
    study = study_of(
        loss,
        params,
        data,
        optimizer=optimizer,
        grid=grid,
        batch_sizes=batch_sizes,
        seeds=seeds,
        total=lambda count: sum(k * e for k, e in ladder(count, budget, rungs)),
        validation=validation,
        key_of=key_of,
        devices=devices,
        memory=memory,
        progress=progress,
        name="successive_halving",
    )
    steps, settings = ladder(len(study.settings), budget, rungs), study.settings
    stay, states, start = np.arange(len(settings)), None, 0
    climbed, outcomes = list[Rung](), list[Outcome]()
    for i, (count, epochs) in enumerate(steps):
        if states is not None:
            kept = np.sort(_lowest(climbed[-1].loss, count))
            states, stay = study.survivors(settings, states, kept), stay[kept]
        settings = study.settings.take(stay)
        span, last = range(start, start := start + epochs), i == len(steps) - 1
        outcome, states, _ = study.train(settings, span, states, keep=not last)
        outcomes.append(outcome)
        climbed.append(Rung(stay, start, _judged(outcome).mean(axis=0)))
    axes = {"setting": np.arange(len(study.settings)), "seed": study.seeds}
    axes["epoch"] = np.arange(1, start + 1)
    spread = partial(_spread, climbed, (len(study.settings), len(study.seeds), start))
    held = [o.validation_loss for o in outcomes if o.validation_loss is not None]
    found = Halving(
        study.settings,
        tuple(climbed),
        Labelled(spread([o.loss for o in outcomes]), axes),
        Labelled(spread(held), axes) if held else None,
        sum(k * e for k, e in steps),
    )
    try:
        _ = found.best
    except FloatingPointError as error:
        warnings.warn(str(error), stacklevel=2)
    return found


def ladder(settings: int, budget: int, rungs: int) -> list[tuple[int, int]]:
    """How many settings go on at each rung, and for how many epochs."""
    counts = [math.ceil(settings ** (1 - r / rungs) - 1e-9) for r in range(rungs)]
    steps = [(count, budget // rungs // count) for count in counts]
    if steps[0][1] < 1:
        raise ValueError(
            f"budget must be rungs × settings epochs or more, {rungs} × {settings}; got "
            f"budget={budget}. Use a larger one, or fewer rungs."
        )
    return steps


def _lowest(losses: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(np.where(np.isnan(losses), np.inf, losses), kind="stable")[:count]


def _judged(outcome: Outcome) -> np.ndarray:
    """What the last epoch left [seeds, settings], infinite where one was not finite."""
    judged = outcome.loss if outcome.validation_loss is None else outcome.validation_loss
    return np.where(outcome.finite.all(-1), judged[..., -1], np.inf)


def _spread(climbed: list[Rung], shape: tuple[int, ...], losses: list[np.ndarray]) -> np.ndarray:
    """The rungs' losses [seeds, settings, epochs] in one array [settings, seeds, epochs]."""
    whole = np.full(shape, np.nan, losses[0].dtype)
    for rung, part in zip(climbed, losses, strict=True):
        whole[rung.settings, :, rung.epoch - part.shape[-1] : rung.epoch] = np.moveaxis(part, 0, 1)
    return whole
