"""A training's checkpoints: when one is due, what is in it, and whether it may be gone on with."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.fitting.fingerprint import of_arrays
from jaxgd.fitting.history import Position
from jaxgd.fitting.progress import Progressed
from jaxgd.fitting.training import Training
from jaxgd.keys import Key
from jaxgd.storage import Checkpoints, Stored
from jaxgd.storage.reservation import check_room

# Of a checkpoint's identity, what may differ without another training: only its last bits may.
_MACHINE = ("jax", "platform", "devices")
# These are told by the text of a program, which another version of JAX writes otherwise.
_PROGRAMS = ("loss", "optimizer")

# Of a note and a short history.
_NOTE_BYTES = 2**16


@dataclass
class Saver:
    """Writes a training down at borders of its plan: every so many updates, or seconds."""

    checkpoints: Checkpoints
    identity: Mapping[str, Any]
    updates: int | None
    seconds: float | None
    log: Callable[[Progressed], None]
    _updates_then: int = 0
    _time_then: float = field(default_factory=time.monotonic)

    def begin(self, training: Training) -> None:
        """Count updates from where the training is.

        Raises OSError where there is no room for two checkpoints: later would be too late.
        """
        self._updates_then = training.updates_done
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(training.tree()))
        check_room(self.checkpoints.directory / "checkpoint", 2 * size + _NOTE_BYTES)

    def save_if_due(self, training: Training) -> None:
        """Write a checkpoint if enough has been done since the last one."""
        done = training.updates_done - self._updates_then
        waited = time.monotonic() - self._time_then
        if (self.updates and done >= self.updates) or (self.seconds and waited >= self.seconds):
            self.save(training)

    def save(self, training: Training) -> None:
        """Write a checkpoint of where the training stands."""
        record = training.record
        tree = {
            **training.tree(),
            "loss": record.table(),
            "validation_loss": np.array(record.validation_loss),
        }
        note = {
            "identity": dict(self.identity),
            "position": list(training.position),
            "epochs_recorded": list(record.loss),
            "jaxgd": version("jaxgd"),
            "optax": version("optax"),
        }
        self.checkpoints.save(training.updates_done, tree, note)
        self._updates_then, self._time_then = training.updates_done, time.monotonic()

    def save_if_new(self, training: Training) -> None:
        """Write a checkpoint unless the last one is of this very position."""
        if training.updates_done != self._updates_then or not self.checkpoints.paths():
            self.save(training)

    def resume(self, training: Training) -> None:
        """Put the training where its newest checkpoint left it, if there is one.

        Raises ValueError for a checkpoint of another training, naming what differs.
        """
        stored = self.checkpoints.newest()
        if stored is None:
            return
        self._check(stored)
        record, note = training.record, stored.note
        table = stored.arrays["['loss']"]
        like = {
            **training.tree(),
            "loss": table,
            "validation_loss": stored.arrays["['validation_loss']"],
        }
        training.put(stored.tree(like), Position(*note["position"]))
        record.restore(note["epochs_recorded"], table, stored.arrays["['validation_loss']"])
        self._updates_then = training.updates_done

    def _check(self, stored: Stored) -> None:
        found = stored.note["identity"]
        different = [name for name in self.identity if found.get(name) != self.identity[name]]
        if "jax" in different:
            different = [name for name in different if name not in _PROGRAMS]
        if changed := [name for name in different if name not in _MACHINE]:
            if "params" in changed:  # another model is another loss and optimizer, too
                changed = ["params"]
            pairs = ((name, found.get(name), self.identity[name]) for name in changed)
            told = "; ".join(f"{name} was {was}, is {now}" for name, was, now in pairs)
            raise ValueError(
                f"a checkpoint goes on with its own training; in {stored.path} {told}. "
                "Use the same settings, or another directory to begin anew."
            )
        for name in different:
            warnings.warn(
                f"{stored.path} was written with {name} {found.get(name)}, this is "
                f"{self.identity[name]}: what follows is the same to rounding, not to the bit.",
                stacklevel=2,
            )


def check_every(every: Any) -> tuple[int | None, float | None]:
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


def identity(
    data: PyTree, segments: tuple[slice, ...], key: Key | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What makes a training this one: its data, plan, key and settings, and what computes it."""
    leaves = jax.tree.leaves(data)
    return {
        "data": ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves),
        "rows": of_arrays(data),
        "segments": [segments[0].stop, segments[-1].stop - segments[-1].start],
        "key": None if key is None else of_arrays(key),
        **settings,
        "jax": version("jax"),
        "platform": next(iter(leaves[0].devices())).platform,
        "devices": jax.device_count(),
    }
