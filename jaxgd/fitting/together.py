"""A training by several devices or processes: what it takes, and what is agreed at a border."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxgd.fitting.checkpointing import Saver
from jaxgd.fitting.interruption import Waiting
from jaxgd.fitting.progress import Progress, Progressed, asks_to_stop
from jaxgd.fitting.training import Training
from jaxgd.inputs import Padded, count_examples
from jaxgd.scale.agreement import Processes
from jaxgd.scale.epochs import DataParallel
from jaxgd.storage import Stored
from jaxgd.storage.trees import read

# What a process tells the others at a border; or else the number of a signal.
_GO_ON, _STOP, _FAILED = 0, -1, -2


def check_together(
    parallel: DataParallel | None, batch_size: Any, data: PyTree, reads: bool, keyed: bool
) -> None:
    """ValueError for data or options that an epoch by several devices, or another, cannot take."""
    if parallel is None:
        count_examples(data)  # refuses padded rows
        leaves: Any = jax.tree.leaves(data)
        if all(not isinstance(a, jax.Array) or a.is_fully_addressable for a in leaves):
            return
        raise ValueError(
            "rows that lie with several processes need an epoch by all of them. Use "
            "epoch=jaxgd.scale.data_parallel(…)."
        )
    if parallel.devices.rows == "whole" and isinstance(data, Padded):
        raise ValueError(
            'rows="whole" takes all rows on every device; got rows that jaxgd.scale.spread has '
            'shared out. Use rows="owned" with them.'
        )
    if parallel.batch_size != batch_size:
        raise ValueError(
            f"epoch must make the updates of batch_size; got batch_size={batch_size} with an epoch "
            f"of {parallel.batch_size}. Give both the same."
        )
    if reads or keyed:
        what = "a Source" if reads else "row_keys=True"
        raise ValueError(
            f"an epoch by several devices takes data in memory, as they are; got {what} with "
            "epoch=data_parallel(…). Use minibatch there."
        )


def check_same(marks: Mapping[str, str], parallel: Mapping[str, str]) -> None:
    """ValueError unless an epoch by several devices is of the fit's own loss and optimizer."""
    if other := [name for name, mark in parallel.items() if mark != marks[name]]:
        raise ValueError(
            f"epoch must be of the {' and the '.join(other)} of the fit; got data_parallel(…) of "
            "another. Give both the same."
        )


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
