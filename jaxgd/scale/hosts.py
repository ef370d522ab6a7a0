"""Several processes, on one host or many: how they find each other, and how they end.

JAX's own coordinator brings them together and hears their heartbeats. When one is gone, JAX ends
the others by `abort`, which no exception handler of Python's is asked about; what is said then,
and the status, are set here.
"""

import atexit
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

_ENDED = 1  # the status of a process that another has left
_LEAST_TIMEOUT = 5
REMEDY = "Start all of them again, with resume=True to go on from the newest checkpoint."
# What a collective says when whom it waits for is gone: gloo's, and those of accelerators.
_OF_PEERS = re.compile(r"gloo|nccl|rccl|coordination|heartbeat|UNAVAILABLE|ABORTED", re.I)


class Lost(RuntimeError):
    """Another process of the training is gone; this one ends as soon as it has said so."""


class _Company:
    """What this process says if another leaves it, and how the training stands."""

    remedy = REMEDY
    told = ""
    is_lost = False  # another is gone
    ends_together = False  # all know that they end


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
    *,
    timeout: int = 60,
) -> None:
    """Make this process the `index`-th of so many that train together.

    It returns once all have joined; from then on `jax.devices()` are those of all. Call it before
    anything that computes. `coordinator` is HOST:PORT of process 0, reachable from all; under
    SLURM, on a TPU pod, with Open MPI and on Kubernetes JAX finds all three by itself.

    Every process ends with a status that is not 0 when one is killed, stops to answer or does not
    come: within `timeout` seconds, and a few more while they join. What is at work then is not
    waited for. An error that nobody catches ends its process at once, and with it the others.

    Raises ValueError for arguments that are none, RuntimeError if JAX has already computed
    something, or the others do not come in time.
    """
    _check(coordinator, processes, index, timeout)
    if jax.distributed.is_initialized():
        raise RuntimeError("a process joins once; it has joined already.")
    of = "" if processes is None else f"{processes} "
    _Company.told = f"all {of}processes must join within {timeout} s; not all did"
    _end_with_last_words()
    local = coordinator is not None and re.match(r"(127\.|localhost:|\[::1\])", coordinator)
    # JAX's own watch for SIGTERM would take the place of fit's.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            index,
            coordinator_bind_address=coordinator if local else None,
            cluster_detection_method=None if coordinator is None else "deactivate",
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=timeout,
            shutdown_timeout_seconds=timeout,
        )
    except jax.errors.JaxRuntimeError as error:
        _Company.is_lost = True
        raise RuntimeError(
            f"{_Company.told} ({_first_line(error)}). Start each with the same coordinator and "
            "timeout, and an index of its own."
        ) from None
    except ValueError as error:
        raise ValueError(
            f"coordinator must be HOST:PORT where JAX finds none by itself ({error}). Give "
            "coordinator, processes and index."
        ) from None
    own, of = jax.process_index(), jax.process_count()
    _Company.told = (
        f"process {own} of {of} ends, because another is gone or has not answered for {timeout} s"
    )


@contextmanager
def peers_needed() -> Iterator[None]:
    """What goes wrong in the block because another process is gone is told as `Lost`."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not jax.distributed.is_initialized() or not _OF_PEERS.search(str(error)):
            raise
        _Company.is_lost = True
        raise Lost(f"{_Company.told} ({_first_line(error)}). {_Company.remedy}") from None


def end_together() -> None:
    """All know of the error that ends them: each waits until the others have told theirs."""
    _Company.ends_together = True


def say_at_the_end(remedy: str) -> None:
    """What to do, in the words of whoever has started this process, if another leaves it."""
    _Company.remedy = remedy


def _check(coordinator: Any, processes: Any, index: Any, timeout: Any) -> None:
    if coordinator is not None and not re.fullmatch(r"\S+:\d+", coordinator):
        raise ValueError(f"coordinator must be HOST:PORT; got {coordinator!r}.")
    if coordinator is not None and (processes is None or index is None):
        raise ValueError(
            "a coordinator needs the number of processes and this one's index; got "
            f"processes={processes}, index={index}. Give all three, or none where JAX finds them."
        )
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1; got processes={processes}.")
    if index is not None and not 0 <= index < (processes or index + 1):
        raise ValueError(
            f"index must be in [0, processes); got index={index} of {processes} processes. "
            "Count from 0."
        )
    if timeout < _LEAST_TIMEOUT:
        raise ValueError(
            f"timeout must be at least {_LEAST_TIMEOUT} seconds; got timeout={timeout}."
        )


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _last_words(_: int) -> None:
    """Told where JAX has aborted, on whichever thread: the others may be at work.

    Also where the main thread was about to say it, or has: JAX's own lines stand below that.
    """
    os.write(2, f"jaxgd: {_Company.told}. {_Company.remedy}\n".encode())
    os._exit(_ENDED)


def _end_with_last_words() -> None:
    """Have the last words said at an abort, and no peer waited for that is gone."""
    library: Any = ctypes.CDLL(None)
    library.signal.restype = ctypes.c_void_p
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal(signal.SIGABRT, ctypes.cast(_last_words, ctypes.c_void_p))
    atexit.register(_leave)  # before JAX's own, which waits for all


def _leave() -> None:
    """End at once where another is gone, or an error has broken this process off.

    In order JAX waits for the others, which may wait for this one.
    """
    error = getattr(sys, "last_value", None)
    broken_off = isinstance(error, Exception) and not _Company.ends_together
    if _Company.is_lost or broken_off:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ENDED)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
