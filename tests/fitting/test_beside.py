"""A checkpoint is written beside the next segment: one at a time, from a copy, its error told."""

import errno
import multiprocessing
import os
import random
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd.storage import Background, Checkpoints
from jaxgd.storage import checkpoints as checkpoints_module
from tests.fitting.soak import soak
from tests.fitting.test_checkpoints import assert_same, fitted, short_segments, until

__all__ = ["short_segments"]


@pytest.fixture
def saves(monkeypatch):
    """What happens in each save, told to it in `.before`; how many were going on at once."""
    real, lock = checkpoints_module.save, threading.Lock()

    class Saves:
        now = most = count = 0

        def before(self, number):
            pass

    saves = Saves()

    def save(*arguments):
        with lock:
            saves.now, saves.count, number = saves.now + 1, saves.count + 1, saves.count
            saves.most = max(saves.most, saves.now)
        try:
            saves.before(number)
            real(*arguments)
        finally:
            with lock:
                saves.now -= 1

    monkeypatch.setattr(checkpoints_module, "save", save)
    return saves


def test_the_next_segment_runs_while_a_checkpoint_is_written(tmp_path, saves):
    """The save ends only once the fit has got on: it would wait for ever, were it not beside."""
    got_on, told = threading.Event(), []
    saves.before = lambda number: told.append(got_on.wait(60)) if number == 0 else None

    def progress(now):
        if (now.epoch, now.update) == (1, 0):
            got_on.set()

    run = fitted(checkpoint=tmp_path, every=4, progress=progress)  # the first is begun at (0, 4)
    assert told == [True]
    assert_same(run, fitted())


def test_at_most_one_is_in_flight_and_no_thread_stays(tmp_path, saves):
    before = threading.active_count()
    saves.before = lambda _: time.sleep(0.002)
    fitted(checkpoint=tmp_path, every=1)
    assert (saves.most, saves.count) == (1, 12)
    assert threading.active_count() == before


def failing_at(which):
    def before(number):
        if number in which:
            raise OSError(errno.ENOSPC, "No space left on device")

    return before


def test_what_a_save_raises_the_next_border_raises(tmp_path, saves):
    """And the state of that border is saved, if the disk is well again: nothing is lost."""
    saves.before, seen = failing_at({1}), []

    def progress(now):
        seen.append((now.epoch, now.update))
        time.sleep(0.01)  # so that the save is through before the border

    with pytest.raises(OSError, match="No space left"):
        fitted(checkpoint=tmp_path, every=1, progress=progress)
    assert seen == [(0, 2), (0, 4)]  # the second failed; the third border says so
    assert Checkpoints(tmp_path).newest().note["position"] == [1, 0]
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_what_the_last_save_raises_the_end_raises(tmp_path, saves):
    saves.before = failing_at({0, 1})
    with pytest.raises(OSError, match="No space left"):
        fitted(checkpoint=tmp_path, every=10**6)
    assert Checkpoints(tmp_path).paths() == []


@pytest.mark.parametrize("seed", range(3))
def test_any_timing_and_faults_end_in_the_same_bits(tmp_path, saves, seed):
    """Sleep points at random in the saves and between segments, one save in five fails."""
    chance = random.Random(seed)

    def before(_):
        time.sleep(chance.choice((0, 0, 0.001, 0.005)))
        if chance.random() < 0.2:
            raise OSError(errno.EIO, "Input/output error")

    saves.before = before
    for _ in range(40):
        try:
            run = fitted(checkpoint=tmp_path, every=1, resume=True,
                         progress=lambda _: time.sleep(chance.choice((0, 0.002))))  # fmt: skip
            break
        except OSError:
            continue
    assert saves.most == 1
    assert_same(run, fitted())


def test_whoever_is_shown_the_state_may_donate_it(tmp_path, saves):
    """It is copied before the callback has it."""
    saves.before = lambda _: time.sleep(0.02)
    spoil = jax.jit(lambda tree: jax.tree.map(jnp.zeros_like, tree), donate_argnums=0)

    def progress(now):
        if (now.epoch, now.update) == (1, 2):
            spoil(now.state)
            return True
        return False

    fitted(checkpoint=tmp_path, every=1, progress=progress)
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_an_error_beside_does_not_hide_what_broke_off():
    def fail():
        raise OSError("full")

    def broken_off():
        with Background() as beside:
            beside.start(fail)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        broken_off()
    assert caught.value.__notes__ == ["and beside it: full"]


LOSSES = [3.0, 1.0, 2.0, 1.5]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    """By a metric given: the second epoch's is the best, and older than the newest two."""
    fitted(checkpoint=tmp_path, every=2, keep_best=lambda now: LOSSES[now.epoch - 1])
    updates = [int(path.name[11:23]) for path in Checkpoints(tmp_path).paths()]
    assert updates == [28, 25, 14]
    best = Checkpoints(tmp_path).best()
    assert (best.note["position"], best.note["score"]) == ([2, 0], 1.0)
    stopped = fitted(progress=until(2, 0))
    state = best.tree(stopped.state, under="['state']")
    np.testing.assert_array_equal(state.params.w, stopped.params.w)


def test_the_best_is_still_kept_after_a_resume(tmp_path):
    scores = {"keep_best": lambda now: LOSSES[now.epoch - 1], "checkpoint": tmp_path, "every": 2}
    fitted(**scores, progress=until(3, 2))
    run = fitted(**scores, resume=True)
    assert Checkpoints(tmp_path).best().note["position"] == [2, 0]
    assert_same(run, fitted())


def test_the_best_is_the_lowest_mean_or_validation_loss(tmp_path):
    run = fitted(checkpoint=tmp_path / "mean", keep_best=True)
    best = Checkpoints(tmp_path / "mean").best()
    assert best.note["score"] == min(run.history.epoch_loss)
    from tests.laws.problem import data

    run = fitted(checkpoint=tmp_path / "val", keep_best=True, validation=data(7, seed=1))
    assert Checkpoints(tmp_path / "val").best().note["score"] == min(run.history.validation_loss)


def test_a_damaged_best_is_told(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for updates, score in ((1, 0.5), (2, 0.7), (3, None), (4, float("nan"))):
        checkpoints.save(updates, {"a": jnp.ones(2)}, {}, score)
    assert [path.name[11:23].lstrip("0") for path in checkpoints.paths()] == ["4", "1"]
    checkpoints.paths()[-1].write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"damaged or truncated.* It may have been the best"):
        assert Checkpoints(tmp_path).best() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_child_that_is_forked_does_not_hold_the_directory(tmp_path):
    """Or an orphan would lock a training out for ever."""
    go, gone = os.pipe()
    with Checkpoints(tmp_path).held():
        child = os.fork()
        if child == 0:
            os.read(go, 1)
            os._exit(0)
        with pytest.raises(RuntimeError, match="is held by another"), Checkpoints(tmp_path).held():
            pass
    with Checkpoints(tmp_path).held():  # while the child is alive
        pass
    os.write(gone, b"x")
    os.waitpid(child, 0)
    for end in (go, gone):
        os.close(end)


def hold(directory, held, go):
    """What a process that was spawned does: it holds a directory until it may go."""
    with Checkpoints(directory).held():
        held.set()
        go.wait(60)


def test_a_process_that_is_spawned_holds_its_directory_alone(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    held, go = spawn.Event(), spawn.Event()
    child = spawn.Process(target=hold, args=(tmp_path, held, go))
    child.start()
    assert held.wait(60)
    with pytest.raises(RuntimeError, match="is held by another"), Checkpoints(tmp_path).held():
        pass
    go.set()
    child.join(60)
    assert child.exitcode == 0
    with Checkpoints(tmp_path).held():
        pass


def test_another_number_of_devices_is_told(tmp_path, monkeypatch):
    """The process or device count changed."""
    fitted(checkpoint=tmp_path, progress=until(1, 0))
    monkeypatch.setattr(jaxgd.fitting.checkpointing.jax, "device_count", lambda: 1)
    with pytest.warns(UserWarning, match=r"devices 8, this is 1: .* same to rounding"):
        fitted(checkpoint=tmp_path, resume=True)


def test_nothing_grows_from_fit_to_fit():
    """`python -m tests.fitting.soak 300` looks at the memory, too."""
    before, after = soak(4, warm=4)
    kept = before.keys() - {"kB of memory"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
