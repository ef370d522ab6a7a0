"""A training that goes from one border of its plan to the next."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.descent import State
from jaxgd.fitting.checks import all_finite
from jaxgd.fitting.divergence import Culprit, Diverged, first_in, told
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.program import Program
from jaxgd.fitting.progress import Progressed
from jaxgd.fitting.rows import Lying, Rows
from jaxgd.inputs import count_spread
from jaxgd.scale.hosts import peers_needed
from jaxgd.stopping import Best, Patience, has_waited, nothing_yet, watch
from jaxgd.streaming.streamed import Reading

_VALIDATION = -1  # stands for its program among the lengths of segments

# Compiled once for all fits with params of one kind.
_watch = jax.jit(watch)


@dataclass
class Training:
    """A state and its position among the segments of the epochs, and how to get on from there.

    `search` finds what in a segment was not finite, None where nothing can; with `skips` the
    updates themselves let go of what is not. `place` puts arrays where the state lies. `params_of`
    takes what is validated and handed back from a state.
    """

    program: Program
    rows: Rows | Reading | Lying
    held_out: Rows | None
    segments: tuple[slice, ...]
    record: Record
    state: State
    position: Position
    search: Callable[[State, PyTree, int], Culprit | None] | None = None
    skips: bool = False
    patience: Patience | None = None
    best: Best | None = None
    place: Callable[[PyTree], PyTree] = lambda tree: tree
    params_of: Callable[[State], PyTree] = lambda state: state.params
    _compiled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.patience is not None and self.held_out is not None and self.best is None:
            params = self.params_of(self.state)
            rows = self._held_out_rows(self.held_out, 0)
            value = jax.eval_shape(self.program.validate, params, rows)
            self.best = self.place(nothing_yet(params, value.dtype))

    def advance(self, epochs: int) -> Progressed:
        """Run the next segment, and after an epoch's last one the validation, and tell of it.

        Raises Diverged, with the state before the segment, if it leaves a number not finite.
        """
        epoch, update = self.position
        borders = [self.record.updates_in(segment.start) for segment in self.segments]
        segment = self.segments[borders.index(update)]
        losses = self._run(segment)
        self.record.add(self.position, losses)
        validation_loss = None
        self.position = Position(epoch, update + len(losses))
        if segment == self.segments[-1]:
            self.position = Position(epoch + 1)
            if self.held_out is not None:
                validation_loss = self._validate(self.held_out, epoch)
        done, updates = self.position
        loss = self.record.epoch_loss(epoch)
        return Progressed(done, epochs, loss, validation_loss, updates, self.state)

    @property
    def updates_done(self) -> int:
        """How many updates lie before the position, of all epochs."""
        return self.position.epoch * len(self.record.batch_sizes) + self.position.update

    def reached(self) -> str:
        """The position in words."""
        epoch, update = self.position
        if not update:
            return f"after {epoch} epoch{'s' * (epoch != 1)}"
        of = len(self.record.batch_sizes)
        return f"in epoch {epoch} (counted from 0), after {update} of its {of} updates"

    @property
    def has_waited(self) -> bool:
        """Whether the validation loss has not fallen for as long as the patience says."""
        if self.best is None or self.patience is None:
            return False
        return bool(has_waited(self.best, self.patience))

    def tree(self) -> dict[str, Any]:
        """What of the training is arrays, for a checkpoint."""
        best = {} if self.best is None else {"best": self.best}
        return {"state": self.state, **best}

    def put(self, tree: dict[str, Any], position: Position) -> None:
        """Go to where a checkpoint stands."""
        self.state, self.best = self.place((tree["state"], tree.get("best")))
        self.position = position

    def fit(self) -> Fit:
        """What the training has come to: the params of the lowest validation loss, if it waits."""
        params = self.params_of(self.state)
        if self.best is not None and np.isfinite(self.best.loss):
            params = self.best.params
        return Fit(params, self.state, self.record.history(self.has_waited), self.position)

    def _run(self, segment: slice) -> np.ndarray:
        """The losses of a segment's updates, once its state is known to be finite."""
        began = time.perf_counter()
        rows = self.rows.of(self.position.epoch, segment)
        if (length := segment.stop - segment.start) not in self._compiled:
            self.program.compile(self.state, rows)
            self._compiled.add(length)
            self.record.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        # The state is not donated: should a segment diverge, the state before it is handed back.
        with peers_needed():
            state, out = self.program.segment(self.state, rows)
            losses, finite = np.asarray(out), bool(all_finite(state.params))
        self.record.run_seconds += time.perf_counter() - began
        lost = ~np.isfinite(losses)
        nothing_kept = self._skipped(state) == len(losses) if self.skips else lost.any()
        if not finite or nothing_kept:
            raise self._diverged(segment, rows, losses)
        self.state = state
        return np.where(lost, np.full_like(losses, np.nan), losses)

    def _skipped(self, after: State) -> int:
        """How many updates were let go on the way from the state."""
        return int(after.opt_state.skipped) - int(self.state.opt_state.skipped)

    def _diverged(self, segment: slice, rows: PyTree, losses: np.ndarray) -> Diverged:
        """What to say of a segment that left something not finite."""
        culprit = first_in(losses)
        if self.search is not None:
            culprit = self.search(self.state, rows, culprit.update) or culprit
        epoch, before = self.position
        b = self.record.batch_size
        start = segment.start + culprit.update * b
        batch = slice(start, min(start + b, segment.stop))
        position = Position(epoch, before + culprit.update)
        what = told(culprit, position)
        if self.skips:
            what = f"no update of a segment could be kept: {what}"
        rows = self.rows.numbers(epoch, batch)
        return Diverged(what, self.fit(), position, culprit.leaf, rows)

    def _held_out_rows(self, held_out: Rows, epoch: int) -> PyTree:
        return held_out.of(epoch, slice(0, count_spread(held_out.data)))

    def _validate(self, held_out: Rows, epoch: int) -> float:
        """The loss of the validation rows after an epoch."""
        params, rows = self.params_of(self.state), self._held_out_rows(held_out, epoch)
        began = time.perf_counter()
        if _VALIDATION not in self._compiled:
            self._compiled.add(_VALIDATION)
            self.program.validate.lower(params, rows).compile()
            self.record.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        with peers_needed():
            value = self.program.validate(params, rows)
            if self.best is not None and self.patience is not None:
                self.best = _watch(self.best, params, value, self.patience)
            self.record.validation_loss.append(float(value))
        self.record.run_seconds += time.perf_counter() - began
        return self.record.validation_loss[-1]
