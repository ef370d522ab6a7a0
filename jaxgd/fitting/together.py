"""A training by several processes: what is agreed at a border, and which checkpoint they share."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jaxgd.fitting.checkpointing import Saver
from jaxgd.fitting.interruption import Waiting
from jaxgd.fitting.progress import Progress, Progressed, asks_to_stop
from jaxgd.fitting.training import Training
from jaxgd.scale.agreement import Processes
from jaxgd.storage import Stored
from jaxgd.storage.trees import read

# What a process tells the others at a border; or else the number of a signal.
_GO_ON, _STOP, _FAILED = 0, -1, -2


def signalled(processes: Processes, waiting: Waiting) -> int | None:
    """The signal that one of them has heard; of each a number is sent to all."""
    return int(processes.gathered(np.array(waiting.number or 0)).max()) or None


def stops_at_border(
    processes: Processes,
    training: Training,
    now: Progressed,
    report: Progress | None,
    saver: Saver | None,
    waiting: Waiting,
) -> bool:
    """Write down and tell what there is to tell; whether the training stops here, in all alike.

    One number of each process is sent to all. A signal that one has heard waits in all.
    """
    try:
        if saver:
            saver.note(now)  # before a checkpoint: what lies behind one is not run again
            saver.save_if_due(training, now)
        stops = asks_to_stop(report, now)
    except Exception:
        processes.tell(np.array(_FAILED))
        raise
    told = processes.gathered(np.array(waiting.number or (_STOP if stops else _GO_ON)))
    processes.check(told == _FAILED)
    if (number := int(told.max())) > _GO_ON:
        waiting.number = number  # and else stays: it may have come this moment
    return bool((told != _GO_ON).any())


def content_of(processes: Processes, found: Stored | None) -> bytes | None:
    """What there is to share of a checkpoint that was found."""
    return None if found is None or not processes.several else found.path.read_bytes()


def shared(processes: Processes, found: Stored | None, content: bytes | None) -> Stored | None:
    """What the first process has found in its directory, in all of them."""
    if not processes.several:
        return found
    content = processes.from_first(content)
    if content is None or found is not None:
        return found
    with TemporaryDirectory() as place:
        path = Path(place) / "checkpoint"
        path.write_bytes(content)
        return read(path)
