"""A training that goes from one border of its plan to the next."""

import time
from dataclasses import dataclass, field

import numpy as np

from jaxgd.descent import State
from jaxgd.fitting.history import Fit, Position, Record
from jaxgd.fitting.program import Program, all_finite
from jaxgd.fitting.progress import Progressed
from jaxgd.fitting.rows import Rows
from jaxgd.inputs import count_examples

_VALIDATION = -1  # stands for its program among the lengths of segments


class Diverged(FloatingPointError):
    """A loss or parameters that are not finite; `.fit` is the run up to that segment's start."""

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit


@dataclass
class Training:
    """A state and its position among the segments of the epochs, and how to get on from there."""

    program: Program
    rows: Rows
    held_out: Rows | None
    segments: tuple[slice, ...]
    record: Record
    state: State
    position: Position
    _compiled: set[int] = field(default_factory=set)

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

    def fit(self) -> Fit:
        """What the training has come to."""
        return Fit(self.state.params, self.state, self.record.history(), self.position)

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
        state, out = self.program.segment(self.state, rows)
        losses, finite = np.asarray(out), bool(all_finite(state.params))
        self.record.run_seconds += time.perf_counter() - began
        if not (finite and np.isfinite(losses).all()):
            raise Diverged(_divergence(self.position, losses), self.fit())
        self.state = state
        return losses

    def _validate(self, held_out: Rows, epoch: int) -> float:
        """The loss of the validation rows after an epoch."""
        rows = held_out.of(epoch, slice(0, count_examples(held_out.data)))
        began = time.perf_counter()
        if _VALIDATION not in self._compiled:
            self._compiled.add(_VALIDATION)
            self.program.validate.lower(self.state.params, rows).compile()
            self.record.compile_seconds += time.perf_counter() - began
            began = time.perf_counter()
        self.record.validation_loss.append(float(self.program.validate(self.state.params, rows)))
        self.record.run_seconds += time.perf_counter() - began
        return self.record.validation_loss[-1]


def _divergence(position: Position, losses: np.ndarray) -> str:
    """What to say of a segment that left a loss or parameters not finite."""
    lost = np.flatnonzero(~np.isfinite(losses))
    epoch, update = position
    what = (
        f"the loss must stay finite; it was {losses[lost[0]]} at epoch {epoch}, update "
        f"{update + lost[0]} (both counted from 0)."
        if lost.size
        else f"parameters must stay finite; they were not after epoch {epoch}, update "
        f"{update + len(losses) - 1} (both counted from 0)."
    )
    return f"{what} Use a smaller learning rate, or scale the features."
