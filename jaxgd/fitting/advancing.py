"""A training advanced from border to border, until its end or what ends it sooner."""

import warnings
from contextlib import ExitStack
from signal import SIGINT, SIGTERM

from jaxgd.fitting.checkpointing import Saver
from jaxgd.fitting.divergence import Diverged
from jaxgd.fitting.history import Fit
from jaxgd.fitting.interruption import Interrupted, signals_wait
from jaxgd.fitting.progress import Progress
from jaxgd.fitting.together import content_of, shared, signalled, stops_at_border
from jaxgd.fitting.training import Training
from jaxgd.scale.agreement import Processes


def trained_and_saved(
    training: Training,
    end: int,
    report: Progress | None,
    saver: Saver,
    resume: bool,
    stops: bool,
    processes: Processes,
) -> Fit:
    """Begin, or go on from the newest checkpoint, in a directory that is this run's alone.

    The first process alone looks at it, and tells the others what it has found.
    """
    directory = saver.checkpoints.directory
    with ExitStack() as stack:
        with processes.or_none():
            stack.enter_context(saver.held())
            saver.begin(training)
            found = saver.found(resume)
            content = content_of(processes, found)
        with processes.or_none():
            if (stored := shared(processes, found, content)) is not None:
                saver.go_on(training, stored)
        if training.position > (end, 0):
            raise ValueError(
                f"epochs must reach as far as the checkpoint; got a run to epoch {end}, and "
                f"{directory} is at {training.position}. Use more epochs, or another directory."
            )
        return trained(training, end, report, saver, stops, processes)


def trained(
    training: Training,
    end: int,
    report: Progress | None,
    saver: Saver | None,
    stops_lost: bool,
    processes: Processes,
) -> Fit:
    """Advance until the end, a callback that stops it, a patience that is over, or a signal."""
    signals = (SIGINT, SIGTERM) if saver else (SIGINT,)
    with training.rows, signals_wait(signals) as waiting:
        try:
            while training.position.epoch < end and not training.has_waited:
                now = training.advance(end)
                if stops_at_border(processes, training, now, report, saver, waiting):
                    break
        except Exception as error:  # a callback's, or a divergence: it stands at a border
            if not (stops_lost and isinstance(error, Diverged)):
                if saver:
                    saver.save_if_new(training)
                raise
            warnings.warn(f"stopped: {error}", stacklevel=3 if saver is None else 4)
        with processes.or_none():
            if saver:
                saver.save_if_new(training)
        if (number := signalled(processes, waiting)) is not None:
            waiting.number = None
            told = _interrupted(training, saver)
            raise Interrupted(told, training.fit(), number, training.reached())
    return training.fit()


def _interrupted(training: Training, saver: Saver | None) -> str:
    """How far it came, what was saved, and how to go on."""
    done = f"interrupted {training.reached()}"
    if saver is None:
        return f"{done}; the state and position are in .fit. Give both to fit to go on."
    return f"{done}; saved in {saver.checkpoints.directory}. Use resume=True to go on."
