"""Whatever ends a fit, the next goes on from its newest checkpoint, to the same bits."""

import errno
import os
import signal
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.fitting import checkpointing, loop, training_identity
from jaxgd.fitting.interruption import signals_wait
from jaxgd.reliability.killed_training import kills
from jaxgd.storage import Checkpoints, checkpoints
from jaxgd.storage.verified_file import sync as storage_sync
from tests.laws.problem import KEY, MOMENTUM, N, data, leaves, loss

PARAMS = jaxgd.Linear(jnp.full(5, 0.1), jnp.asarray(0.1))


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 8)  # two batches of 4 a segment


def fitted(**options):
    options = {"optimizer": MOMENTUM, "epochs": 4, "key": KEY, "batch_size": 4} | options
    table = options.pop("table", data())
    return jaxgd.fit(loss, options.pop("params", PARAMS), table, **options)


def assert_same(ours, theirs):
    for a, b in zip(leaves(ours.state), leaves(theirs.state), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.history.loss, theirs.history.loss)
    np.testing.assert_array_equal(ours.history.validation_loss, theirs.history.validation_loss)
    assert ours.position == theirs.position


def until(epoch, update):
    return lambda now: (now.epoch, now.update) == (epoch, update)


@pytest.mark.parametrize("every", [1, 5, 10**6, "0.0001s", "1000s"])
@pytest.mark.parametrize("stop", [(0, 2), (1, 0), (1, 4), (4, 0)])
def test_stopped_and_resumed_is_uninterrupted(tmp_path, every, stop):
    validation = data(7, seed=1)
    first = fitted(validation=validation, checkpoint=tmp_path, every=every, progress=until(*stop))
    assert first.position == stop
    second = fitted(validation=validation, checkpoint=tmp_path, every=every, resume=True)
    assert_same(second, fitted(validation=validation))


def test_a_second_resume_within_one_epoch(tmp_path):
    fitted(checkpoint=tmp_path, progress=until(1, 2))
    fitted(checkpoint=tmp_path, progress=until(1, 4), resume=True)
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_interrupted_twice_within_the_first_segment(tmp_path):
    """Before anything was saved: it begins anew."""
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fitted(checkpoint=tmp_path, progress=interrupting, resume=True, every=10**6)
        for path in tmp_path.glob("checkpoint-*"):
            path.unlink()
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_a_longer_run_goes_on_and_a_shorter_one_says_so(tmp_path):
    fitted(checkpoint=tmp_path, epochs=2)
    assert_same(fitted(checkpoint=tmp_path, epochs=5, resume=True), fitted(epochs=5))
    assert_same(fitted(checkpoint=tmp_path, epochs=5, resume=True), fitted(epochs=5))  # done
    with pytest.raises(ValueError, match=r"epochs must reach as far .* got a run to epoch 3"):
        fitted(checkpoint=tmp_path, epochs=3, resume=True)


def test_full_batch_descent_and_row_keys_resume(tmp_path):
    def noisy(params, example):
        (x, y), key = example
        kept = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x, 0)
        return loss(params, (kept, y))

    def run(**options):
        return jaxgd.fit(
            noisy, PARAMS, data(), optimizer=MOMENTUM, epochs=4, key=KEY, row_keys=True, **options
        )

    run(checkpoint=tmp_path, progress=until(2, 0))
    assert_same(run(checkpoint=tmp_path, resume=True), run())


X, Y = (np.asarray(a) for a in data())
OTHERS = {
    "batch size": ({"batch_size": 8}, r"batch_size was 4, is 8"),
    "key": ({"key": jax.random.key(9)}, "the key is another"),
    "rows as they lie": ({"shuffle": False}, "shuffle was True, is False"),
    "other rows": ({"table": (X + 1, Y)}, "the rows of data are others"),
    "one other row": (
        {"table": (np.where(np.arange(N)[:, None] == 9, 0, X), Y)},
        "rows of data are",
    ),
    "learning rate": (
        {"optimizer": optax.sgd(0.2, momentum=0.9)},
        "optimizer is another, or an option",
    ),
    "validation": ({"validation": data(7)}, "validation was None, is given"),
    "more rows": ({"table": data(N + 1)}, r"data was [^;]*, is [^;]*\. Use"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_training_is_named(tmp_path, other):
    fitted(checkpoint=tmp_path, progress=until(1, 0))
    options, message = OTHERS[other]
    with pytest.raises(ValueError, match=f"goes on with its own training; in .*{message}"):
        fitted(checkpoint=tmp_path, resume=True, **options)


def test_a_checkpoint_of_another_epoch_is_named(tmp_path):
    """An epoch of one's own has an optimizer of its own, which fit does not see otherwise."""
    epochs = {rate: jaxgd.minibatch(loss, optax.sgd(rate, momentum=0.9), 4) for rate in (0.1, 0.2)}
    fitted(checkpoint=tmp_path, progress=until(1, 0), epoch=epochs[0.1])
    with pytest.raises(ValueError, match=r"in .* the epoch is another"):
        fitted(checkpoint=tmp_path, resume=True, epoch=epochs[0.2])
    with pytest.raises(ValueError, match=r"in .* epoch was given, is None"):
        fitted(checkpoint=tmp_path, resume=True)
    fitted(checkpoint=tmp_path, resume=True, epoch=epochs[0.1])


def test_a_checkpoint_that_an_older_jaxgd_wrote_is_refused_in_words(tmp_path, monkeypatch):
    """One without the order of its rows, as they all once were."""
    noted = training_identity.identity
    with monkeypatch.context() as older:
        older.setattr(
            loop, "identity", lambda *of: {k: v for k, v in noted(*of).items() if k != "order"}
        )
        fitted(checkpoint=tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r"in .* order was not noted, as by an older jaxgd\. Use"):
        fitted(checkpoint=tmp_path, resume=True)


@pytest.mark.optax_promotion
def test_a_checkpoint_of_another_optimizer_or_model_is_named(tmp_path):
    fitted(checkpoint=tmp_path, progress=until(1, 0))
    with pytest.raises(ValueError, match=r"in .* the optimizer is another"):
        fitted(checkpoint=tmp_path, resume=True, optimizer=optax.adam(0.1))
    with pytest.raises(
        ValueError,
        match=r"params was params\.w float32\[5\], params\.b .* is params\['slope'\] float32\[\]",
    ):
        jaxgd.fit(
            lambda params, example: jnp.square(example[0][0] * params["slope"] - example[1]),
            {"slope": jnp.zeros(())},
            data(),
            optimizer=MOMENTUM,
            epochs=4,
            key=KEY,
            batch_size=4,
            checkpoint=tmp_path,
            resume=True,
        )


def test_a_directory_with_checkpoints_is_not_begun_anew_in_silence(tmp_path):
    fitted(checkpoint=tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r"without checkpoints; .* Use resume=True"):
        fitted(checkpoint=tmp_path)


def test_resuming_needs_a_directory():
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        fitted(resume=True)


def test_a_bare_key_is_kept_too(tmp_path):
    bare = jax.random.PRNGKey(3)
    fitted(key=bare, checkpoint=tmp_path, progress=until(1, 0))
    assert_same(fitted(key=bare, checkpoint=tmp_path, resume=True), fitted(key=bare))


@pytest.mark.parametrize("every", [0, -1, True, "soon", "0s", "-3s"])
def test_bad_every(tmp_path, every):
    with pytest.raises(ValueError, match="every must be a number of updates, or of seconds"):
        fitted(checkpoint=tmp_path, every=every)


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(tmp_path):
    fitted(checkpoint=tmp_path, every=1, progress=until(2, 2))
    newest, older = sorted(tmp_path.glob("checkpoint-*"), reverse=True)
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=f"SHA-256 does not match.* Using {older.name} instead"):
        again = fitted(checkpoint=tmp_path, resume=True)
    assert_same(again, fitted())
    for path in tmp_path.glob("checkpoint-*"):
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"no checkpoint in .* is whole"):
        fitted(checkpoint=tmp_path, resume=True)


def test_only_the_newest_are_kept_and_leftovers_of_a_killed_save_are_cleared(tmp_path):
    leftover = tmp_path / ".checkpoint-000000000007.safetensors.123.part"
    leftover.write_bytes(b"half")
    fitted(checkpoint=tmp_path, every=1)
    assert not leftover.exists()
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert names == [f"checkpoint-{updates:012d}.safetensors" for updates in (25, 28)]


def test_a_directory_is_one_runs_at_a_time(tmp_path):
    def second(now):
        fitted(checkpoint=tmp_path, resume=True)

    with pytest.raises(RuntimeError, match=r"is held by another\. Wait for it"):
        fitted(checkpoint=tmp_path, progress=second)


def interrupting(now):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_border_saves_and_says_how_to_go_on(tmp_path, number):
    handler = signal.getsignal(number)

    def at_border(now):
        if (now.epoch, now.update) == (1, 2):
            os.kill(os.getpid(), number)

    with pytest.raises(
        jaxgd.Interrupted, match=r"in epoch 1 .*, after 2 of its 7 updates; .* resume=True"
    ) as caught:
        fitted(checkpoint=tmp_path, progress=at_border)
    assert caught.value.number == number
    assert caught.value.fit.position == (1, 2)
    assert signal.getsignal(number) == handler
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_without_a_checkpoint_the_fit_so_far_is_in_the_exception():
    with pytest.raises(jaxgd.Interrupted, match=r"in \.fit\. Give both to fit") as caught:
        fitted(progress=interrupting)
    first = caught.value.fit
    assert first.position == (0, 2)
    rest = fitted(params=first.state, start=first.position)
    for a, b in zip(leaves(rest.state), leaves(fitted().state), strict=True):
        np.testing.assert_array_equal(a, b)


def twice():
    with signals_wait((signal.SIGINT,)) as waiting:
        os.kill(os.getpid(), signal.SIGINT)
        assert waiting.number == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)


def test_a_second_interrupt_acts_at_once():
    with pytest.raises(KeyboardInterrupt) as caught:
        twice()
    assert not isinstance(caught.value, jaxgd.Interrupted)


def test_in_another_thread_signals_are_left_alone():
    runs = []
    thread = threading.Thread(target=lambda: runs.append(fitted()))
    thread.start()
    thread.join()
    assert_same(runs[0], fitted())


def test_killed_again_and_again_it_ends_in_the_same_hash():
    """kill -9 and SIGTERM at random moments, in the save too."""
    outcomes = [*kills(3)]
    assert [outcome.verdict for outcome in outcomes] == ["right"] * len(outcomes)
    assert len(outcomes) >= 3


def test_no_warning_where_nothing_changed(tmp_path):
    fitted(checkpoint=tmp_path, progress=until(1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(checkpoint=tmp_path, resume=True)


def test_what_a_callback_breaks_off_is_saved(tmp_path):
    def breaking(now):
        if (now.epoch, now.update) == (1, 2):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(checkpoint=tmp_path, every=10**6, progress=breaking)
    assert_same(fitted(checkpoint=tmp_path, resume=True), fitted())


def test_a_signal_that_nobody_hears_is_sent_again(tmp_path):
    def breaking(now):
        os.kill(os.getpid(), signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        fitted(checkpoint=tmp_path, progress=breaking)


def test_a_damaged_checkpoint_is_passed_again_and_cleared(tmp_path):
    checkpoints = jaxgd.storage.Checkpoints(tmp_path, keep=1)
    (tmp_path / "checkpoint-000000000100.safetensors").write_bytes(b"damaged")
    path = checkpoints.save(60, {"a": jnp.ones(2)}, {})
    assert checkpoints.paths() == [path]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        jaxgd.storage.Checkpoints(tmp_path, keep=0)


def test_there_must_be_room_for_all_checkpoints_that_will_stand_there(tmp_path, monkeypatch):
    """The two that are kept, the best, and the next one beside them."""
    sizes = []
    monkeypatch.setattr(checkpointing, "check_room", lambda _, size: sizes.append(size))
    for options, count in (({}, 3), ({"keep_best": True}, 4)):
        directory = tmp_path / str(count)
        fitted(checkpoint=directory, every=1, **options)
        there = Checkpoints(directory).paths()
        largest = max(path.stat().st_size for path in there)
        assert count * largest <= sizes[-1] <= count * (largest + 2**16)
        fitted(checkpoint=directory, every=1, resume=True, **options)
        assert sizes[-1] == sizes[-2] // count * (count - len(there))  # what is there has its room


def test_the_history_is_on_the_disk_before_a_checkpoint_is(tmp_path, monkeypatch):
    synced = []

    def sync(path):
        synced.append(len(path.read_text().splitlines()))
        storage_sync(path)

    monkeypatch.setattr(checkpointing, "sync", sync)
    fitted(checkpoint=tmp_path, every=1)
    lines = len((tmp_path / "history.jsonl").read_text().splitlines())
    assert len(synced) == lines
    assert all(count >= i for i, count in enumerate(synced, 1))  # of the next segment, too


def test_a_reader_is_not_misled_by_a_run_that_lets_go_of_checkpoints(tmp_path, monkeypatch):
    """Between looking and reading, the newest and the best become others."""
    run = Checkpoints(tmp_path, keep=1)
    run.save(1, jnp.ones(1), {}, score=2.0)
    real = checkpoints.read

    def read(path):
        if path.name.endswith(f"{done:012d}.safetensors"):
            run.save(done + 1, jnp.ones(1), {}, score=2.0 - done / 10)
        return real(path)

    monkeypatch.setattr(checkpoints, "read", read)
    for done, look in ((1, "newest"), (2, "best")):
        assert getattr(Checkpoints(tmp_path), look)().path.name.endswith(f"{done + 1}.safetensors")


def test_a_file_system_without_locks_is_taken(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    assert_same(fitted(checkpoint=tmp_path), fitted())
