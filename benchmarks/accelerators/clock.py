"""The time that a call takes on the device that is here."""

import time
from collections.abc import Callable
from typing import Any

import jax

ROUNDS = 8


def timed(call: Callable[[], Any], rounds: int) -> float:
    """The least seconds of a call, warm: of a CPU the processor's, to which others do not count."""
    clock = time.process_time if jax.devices()[0].platform == "cpu" else time.perf_counter
    least = float("inf")
    for _ in range(rounds + 1):
        start = clock()
        jax.block_until_ready(call())
        least = min(least, clock() - start)
    return least
