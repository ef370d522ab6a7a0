"""Where, how often and which checkpoints a fit is asked to write."""

from pathlib import Path
from typing import Any, NamedTuple

from jaxgd.fitting.checkpointing import Score
from jaxgd.fitting.progress import Progressed


class Saving(NamedTuple):
    """A directory, the updates or the seconds between two checkpoints, and the score of the best.

    With `resume` the newest there is gone on with.
    """

    directory: Path
    updates: int | None
    seconds: float | None
    score: Score | None
    resume: bool


def check_saving(
    checkpoint: Path | str | None, every: Any, resume: bool, keep_best: bool | Score
) -> Saving | None:
    """What is asked for, None for no checkpoints; ValueError for what needs a directory."""
    updates, seconds = _check_every(every)
    if checkpoint is not None:
        return Saving(Path(checkpoint), updates, seconds, _score_of(keep_best), resume)
    if resume:
        raise ValueError("resume=True needs checkpoint=, the directory to go on from; got none.")
    if keep_best is not False:
        raise ValueError("keep_best needs checkpoint=, the directory to keep it in; got none.")
    return None


def _check_every(every: Any) -> tuple[int | None, float | None]:
    """The updates or the seconds between two checkpoints: 1000, or "30s"."""
    if isinstance(every, str) and every.endswith("s"):
        try:
            seconds = float(every[:-1])
        except ValueError:
            seconds = -1.0
        if seconds > 0:
            return None, seconds
    elif isinstance(every, int) and not isinstance(every, bool) and every > 0:
        return every, None
    raise ValueError(
        f'every must be a number of updates, or of seconds such as "30s"; got {every!r}.'
    )


def _score_of(keep_best: bool | Score) -> Score | None:
    """The score of an epoch that is meant: the given one, its loss, or none."""
    if callable(keep_best):
        return keep_best
    return _loss if keep_best else None


def _loss(now: Progressed) -> float:
    return now.loss if now.validation_loss is None else now.validation_loss
