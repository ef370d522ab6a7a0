"""A training's checkpoints: when one is due, what is in it, and how it is gone on with."""

import math
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxgd.fitting.checks import check_start
from jaxgd.fitting.history_file import HISTORY
from jaxgd.fitting.progress import Progressed
from jaxgd.fitting.training import Training
from jaxgd.fitting.training_identity import check_same_training
from jaxgd.storage import Background, Checkpoints, Stored
from jaxgd.storage.bits import is_key
from jaxgd.storage.reservation import check_room
from jaxgd.storage.verified_file import refused_as_misfit, sync
from jaxgd.version import __version__

# Of a note and a short history.
_NOTE_BYTES = 2**16

Score = Callable[[Progressed], float]


@dataclass
class Saver:
    """Writes a training down at borders of its plan: every so many updates, or seconds.

    A checkpoint is written beside the next segment, one at a time, from a copy of the state. If it
    cannot be written, the next border says so. With `best`, which gives a score to what is told of
    an epoch (lower is better), one is also written whenever an epoch is the best so far, and kept.
    Of processes that train together one writes, and the others keep count with it.
    """

    checkpoints: Checkpoints
    identity: Mapping[str, Any]
    updates: int | None
    seconds: float | None
    log: Callable[[Progressed], None]
    best: Score | None = None
    writes: bool = True
    _updates_then: int = 0
    _time_then: float = field(default_factory=time.monotonic)
    _noted: bool = True  # whether the history has all that was done
    _written: int | None = None  # the updates of the last checkpoint, once it is begun
    _beside: Background = field(default_factory=Background)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The directory is this training's alone until the last checkpoint is through."""
        if not self.writes:
            yield
            return
        with self.checkpoints.held(), self._beside:
            yield

    def begin(self, training: Training) -> None:
        """Count updates from where the training is.

        Raises OSError where there is no room for all checkpoints that will stand beside each other,
        and those there already are counted as theirs: later would be too late.
        """
        self._updates_then = training.updates_done
        if not self.writes:
            return
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(training.tree())) + _NOTE_BYTES
        most = self.checkpoints.keep + 1 + (self.best is not None)  # the next one, and the best
        coming = max(1, most - len(self.checkpoints.paths()))
        check_room(self.checkpoints.directory / "checkpoint", coming * size)

    def note(self, now: Progressed) -> None:
        """Add a line to the history."""
        if self.writes:
            self._noted = False
            self.log(now)
            self._noted = True

    def save_if_due(self, training: Training, now: Progressed) -> None:
        """Begin to write a checkpoint if enough has been done since the last one.

        Raises what has kept the one before from being written.
        """
        if not self.writes:
            return
        self._look()
        done = training.updates_done - self._updates_then
        waited = time.monotonic() - self._time_then
        score = float(self.best(now)) if self.best and now.update == 0 else math.nan
        is_best = self.checkpoints.is_best(score) if self.best else False
        if (
            is_best
            or (self.updates and done >= self.updates)
            or (self.seconds and waited >= self.seconds)
        ):
            self._begin_to_save(training, score)

    def save_if_new(self, training: Training) -> None:
        """Write a checkpoint unless the last one is of this very position, and wait for it.

        One that could not be written is tried once more. Where the history lacks a line none is
        written: a run that goes on from it would not add that line.
        """
        with suppress(OSError):
            self._wait()
        if not (self.writes and self._noted):
            return
        if training.updates_done != self._written or not self.checkpoints.paths():
            self._begin_to_save(training)
            self._wait()

    def _begin_to_save(self, training: Training, score: float = math.nan) -> None:
        self._wait()
        record = training.record
        # Copied: whoever is shown the state may donate it before it is written.
        tree = {
            **jax.tree.map(_copied, training.tree()),
            "loss": record.table(),
            "validation_loss": np.array(record.validation_loss),
        }
        note = {
            "identity": dict(self.identity),
            "position": list(training.position),
            "epochs_recorded": list(record.loss),
            "jaxgd": __version__,
            "optax": version("optax"),
        }
        done = training.updates_done
        given = None if math.isnan(score) else score
        self._beside.start(lambda: self._save(done, tree, note, given))
        self._updates_then = self._written = done
        self._time_then = time.monotonic()

    def _save(
        self, updates: int, tree: PyTree, note: Mapping[str, Any], score: float | None
    ) -> None:
        """Write a checkpoint, once the history before it outlives a power cut as it does."""
        if (history := self.checkpoints.directory / HISTORY).exists():
            sync(history)
        self.checkpoints.save(updates, tree, note, score)

    def _look(self) -> None:
        with self._not_written():
            self._beside.look()

    def _wait(self) -> None:
        with self._not_written():
            self._beside.wait()

    @contextmanager
    def _not_written(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._written = None
            raise

    def found(self, resume: bool) -> Stored | None:
        """The newest checkpoint, if the training is to go on from one; ValueError if it may not."""
        if not self.writes:
            return None
        if resume:
            return self.checkpoints.newest()
        check_new(self.checkpoints)
        return None

    def go_on(self, training: Training, stored: Stored) -> None:
        """Put the training where a checkpoint left it.

        Raises ValueError for one of another training, naming what differs.
        """
        check_same_training(stored, self.identity)
        record, note = training.record, stored.note
        with refused_as_misfit(stored.path, "checkpoint of a fit"):
            found = {name: stored.arrays[f"['{name}']"] for name in ("loss", "validation_loss")}
            position = check_start(tuple(note["position"]), training.segments, record.batch_size)
            epochs = [*map(operator.index, note["epochs_recorded"])]
            table = found["loss"].reshape(len(epochs), len(record.batch_sizes))
        tree = stored.tree({**training.tree(), **found})
        record.restore(epochs, table, found["validation_loss"].reshape(-1))
        training.put(tree, position)
        self._updates_then = self._written = training.updates_done


def _copied(leaf: Any) -> Any:
    """A leaf that nobody else can change or donate."""
    return jnp.copy(leaf) if is_key(leaf) else np.array(leaf)


def check_new(checkpoints: Checkpoints) -> None:
    """ValueError where a training that begins would find another's checkpoints."""
    if checkpoints.paths():
        raise ValueError(
            f"checkpoint must be a directory without checkpoints; {checkpoints.directory} has "
            "some. Use resume=True to go on from the newest, or another directory."
        )
