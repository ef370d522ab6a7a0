"""The thread that reads works as its maker would, and nobody who presses ctrl-C waits for it."""

import signal
import sys
import threading
import time
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import numpy as np
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.streaming import Source, ahead
from tests.laws.problem import KEY, MOMENTUM, data, loss, start

N, B = 203, 7
X, Y = (np.asarray(a) for a in data(N))
WIDE = X.astype(np.float64) + 1e-12


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    """Segments of 63 rows, so that an epoch has three; the programs are those of test_stream."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)


def placed(source, **options):
    """The rows of an epoch as they are placed."""
    pieces = []

    def epoch(state, rows):
        pieces.append(rows)
        return state, np.zeros(1)

    jaxgd.stream(epoch, source, B, **options)(None, KEY)
    return pieces


def test_rows_have_the_precision_and_the_device_of_the_caller():
    device, source = jax.devices()[3], Source(lambda rows: WIDE[rows], N)
    with jax.enable_x64(True), jax.default_device(device):
        pieces = placed(source, shuffle=False)
        pieces += [*ahead(iter([WIDE]))]
    np.testing.assert_array_equal(np.concatenate(pieces), [*WIDE, *WIDE])
    assert {(p.dtype, *p.devices()) for p in pieces} == {(np.dtype(np.float64), device)}
    assert {(p.dtype, *p.devices()) for p in placed(source)} == {
        (np.dtype(np.float32), jax.devices()[0])
    }


def test_a_plan_is_that_of_the_precision(monkeypatch):
    """A row of float64 takes twice the bytes: half as many are a segment."""
    monkeypatch.setattr(batches, "SEGMENT_BYTES", 70 * WIDE.itemsize * WIDE.shape[1])
    monkeypatch.setattr(batches, "SEGMENT_ROWS", N)
    lengths, source = [], Source(lambda rows: WIDE[rows], N)

    def epoch(state, rows):
        lengths.append(len(rows))
        return state, np.zeros(1)

    streamed = jaxgd.stream(epoch, source, B, shuffle=False)
    streamed(None)
    narrow = [*lengths]
    lengths.clear()
    with jax.enable_x64(True):
        streamed(None)
    assert narrow == [203]
    assert lengths == [70, 133]


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "jaxgd read"]


def main_thread_waits():
    """Whether it waits for another, as in `Future.result`."""
    frame = sys._current_frames()[threading.main_thread().ident]
    return frame.f_code is threading.Condition.wait.__code__


def press(heard):
    """Ctrl-C while the main thread waits; again, should Python miss it as the wait begins."""
    while not main_thread_waits():
        time.sleep(0.001)
    while not heard():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.1)


def test_a_second_ctrl_c_waits_for_no_read():
    told, freed, ended = threading.Event(), threading.Event(), []

    def slow(rows):
        if threading.current_thread() is not threading.main_thread() and told.wait(20):
            before = signal.getsignal(signal.SIGINT)
            press(lambda: signal.getsignal(signal.SIGINT) is not before)
            press(lambda: not main_thread_waits())
            freed.wait(20)
            ended.append(True)
        return X[rows], Y[rows]

    def first_is_through(_):
        told.set()

    def read(rows):
        return slow(rows) if told.is_set() or len(rows) == 77 else (X[rows], Y[rows])

    settings = {"optimizer": MOMENTUM, "epochs": 1, "batch_size": B, "key": KEY}
    with pytest.raises(KeyboardInterrupt):
        unchecked(jaxgd.fit)(
            loss, start(MOMENTUM).params, Source(read, N), progress=first_is_through, **settings
        )
    (left,) = reading_threads()
    assert (ended, left.daemon) == ([], True)
    freed.set()
    left.join(20)
    assert ended == [True]


def test_a_read_that_was_left_behind_and_the_next_are_not_at_the_same_time():
    at_once, most, both = [], [], threading.Barrier(2)

    def read(rows):
        at_once.append(None)
        most.append(len(at_once))
        time.sleep(0.02)
        at_once.pop()
        return X[rows]

    def rows():
        both.wait(20)
        Source.rows(source, np.arange(3, dtype=np.int32))

    source = Source(read, N)
    threads = [threading.Thread(target=rows) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1, 1]


def test_no_batch_ahead_is_refused_where_it_is_asked_for():
    with pytest.raises(ValueError, match="depth must be an integer of at least 1; got depth=0"):
        ahead([X], depth=0)


def test_batches_that_are_not_used_to_their_end_leave_no_thread():
    some = ahead(iter([X] * 9))
    next(some)
    assert len(reading_threads()) == 1
    some.close()
    assert reading_threads() == []
