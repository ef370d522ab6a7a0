"""The same bits on 1, 2, 4 and 8 devices, and on 1, 2 and 4 processes."""

import jax
import pytest

from benchmarks.compiled_text import COLLECTIVES, kind, read, result_bytes
from jaxgd.scale import data_parallel, on_mesh
from tests.laws.problem import D, data, loss, start
from tests.scale import processes
from tests.scale.processes import MOMENTUM, digest, mesh


@pytest.mark.parametrize(
    ("b", "rows", "n", "numbers"),
    [
        (None, "owned", 61, (1, 2, 4, 8)),
        (20, "whole", 41, (1, 2, 4, 8)),
        (20, "owned", 60, (1, 8)),
    ],
)
def test_the_bits_do_not_depend_on_the_number_of_devices(b, rows, n, numbers):
    assert len({digest(b, rows, n, devices) for devices in numbers}) == 1


def test_the_hash_sees_the_order_of_a_sum():
    """The canary: added up in whatever order, two and eight devices part."""
    assert digest(None, "owned", 61, 2, False) != digest(None, "owned", 61, 8, False)


def test_it_sends_what_a_sum_in_any_order_sends():
    """An all-to-all and an all-gather, each of the gradient and the loss."""
    here = mesh(8)
    epoch = data_parallel(loss, MOMENTUM, 16, here, deterministic=True)
    rows = on_mesh(data(64), here)
    text = jax.jit(epoch).lower(on_mesh(start(MOMENTUM), here), rows, None).compile().as_text()
    sent = [(t, kind(i), result_bytes(i)) for t, i in read(text).each() if kind(i) in COLLECTIVES]
    numbers = D + 2 + -(D + 2) % 8
    assert sent == [(4, "all-to-all", 4 * numbers), (4, "all-gather", 4 * numbers)]


@pytest.mark.slow
def test_the_bits_do_not_depend_on_the_number_of_processes():
    """Four with a device each against this one; `python -m tests.scale.processes` tries more."""
    assert set(processes.digests(None, 4)) == {digest(None, "owned", 61, 4)}
