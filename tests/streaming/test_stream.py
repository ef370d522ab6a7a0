"""Rows that are read end in the bits of rows in memory, and one thread reads ahead."""

import threading
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.fitting import Diverged
from jaxgd.streaming import Source, ahead, blockwise
from tests.laws.problem import KEY, MOMENTUM, data, leaves, loss, start

N, B, EPOCHS = 203, 7, 2
EPOCH = jax.jit(jaxgd.minibatch(loss, MOMENTUM, B))
X, Y = (np.asarray(a) for a in data(N))


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    """Segments of 63 rows, so that an epoch has three."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 64)


def read(rows):
    return X[rows], Y[rows]


def fitted(table=None, **options):
    options = {"optimizer": MOMENTUM, "epochs": EPOCHS, "batch_size": B, "key": KEY} | options
    params = options.pop("params", start(MOMENTUM).params)
    return unchecked(jaxgd.fit)(options.pop("loss", loss), params, table or (X, Y), **options)


def same(ours, theirs):
    for one, other in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stream_ends_in_the_bits_of_fit():
    epoch = jaxgd.stream(EPOCH, Source(read, N), B)
    state, losses = start(MOMENTUM), []
    for e in range(EPOCHS):
        state, out = epoch(state, KEY, e)
        losses.append(out)
    expected = fitted()
    same(state, expected.state)
    np.testing.assert_array_equal(losses, expected.history.loss)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"batch_size": 1}], ids=str)
def test_a_fit_of_what_is_read_ends_in_the_bits_of_one_in_memory(options):
    ours, theirs = fitted(Source(read, N), **options), fitted(**options)
    same(ours.state, theirs.state)
    np.testing.assert_array_equal(ours.history.loss, theirs.history.loss)


def test_with_keys_by_row_and_validation():
    def noisy(params, example):
        row, key = example
        return loss(params, row) + 0.1 * jax.random.normal(key)

    options = {"loss": noisy, "row_keys": True, "epochs": 1, "validation": data(9, seed=2)}
    ours, theirs = fitted(Source(read, N), **options), fitted(**options)
    same(ours.state, theirs.state)
    np.testing.assert_array_equal(ours.history.validation_loss, theirs.history.validation_loss)


def test_float64_and_long_integers_are_those_of_memory():
    wide, counts = X.astype(np.float64), Y.astype(np.int64)
    table = wide, counts

    def counted(params, example):
        return loss(params, (example[0], example[1].astype(jnp.float32)))

    source = Source(lambda rows: (wide[rows], counts[rows]), N)
    same(fitted(source, loss=counted).state, fitted(table, loss=counted).state)


def test_resumed_from_a_checkpoint_to_the_same_bits(tmp_path):
    expected, source = fitted(Source(read, N)), Source(read, N)
    first = fitted(source, checkpoint=tmp_path, progress=lambda now: now.update == 18)
    assert first.position == (0, 18)
    again = fitted(Source(read, N), checkpoint=tmp_path, resume=True)
    same(again.state, expected.state)
    np.testing.assert_array_equal(again.history.loss, expected.history.loss)
    other = Source(lambda rows: (X[rows] + 1, Y[rows]), N)
    with pytest.raises(ValueError, match=r"own training; .* the rows of data are others"):
        fitted(other, checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"data was float32\[203, 5\], .* is float32\[100, 5\]"):
        fitted(Source(read, 100), checkpoint=tmp_path, resume=True)


def test_a_checkpoint_of_another_order_is_named(tmp_path):
    """With the same rows: blocks and windows, or those of the one and the order of the other."""

    def rows_in(*order):
        return Source(read, N, *(blockwise(*sizes) for sizes in order))

    def stopped(table, folder):
        fitted(table, checkpoint=tmp_path / folder, progress=lambda now: now.update == 18)

    stopped(rows_in((20, 3)), "blocks")
    for other in (rows_in((20, 2)), rows_in((10, 3)), rows_in(), (X, Y)):
        with pytest.raises(ValueError, match=r"of rows is another: .* block and window"):
            fitted(other, checkpoint=tmp_path / "blocks", resume=True)
    again = fitted(rows_in((20, 3)), checkpoint=tmp_path / "blocks", resume=True)
    same(again.state, fitted(rows_in((20, 3))).state)
    stopped((X, Y), "memory")
    with pytest.raises(ValueError, match="the order of rows is another"):
        fitted(rows_in((20, 3)), checkpoint=tmp_path / "memory", resume=True)
    same(fitted(rows_in(), checkpoint=tmp_path / "memory", resume=True).state, fitted().state)


def test_row_numbers_that_are_no_rows_are_refused():
    """NumPy would take some from the other end, and mapped files clip."""
    for number in (-1, N):
        with pytest.raises(ValueError, match=rf"must be in \[0, n\); got {number} with n=203"):
            Source(read, N).rows(np.array([0, number]))
    for numbers in (np.zeros(3), np.zeros((2, 1), np.int32)):
        with pytest.raises(ValueError, match="row numbers must be one-dimensional, of integers"):
            Source(read, N).rows(numbers)
    with pytest.raises(ValueError, match=r"row numbers must be in \[0, n\); got 203"):
        fitted(Source(read, N, lambda key, n: lambda positions: positions + 1))


def test_the_next_segments_are_read_while_one_runs_and_none_twice():
    asked, threads, used = [], set(), []

    def told(rows):
        asked.append(len(rows))
        threads.add(threading.current_thread())
        return X[rows], Y[rows]

    def update(state, batch):
        jax.debug.callback(lambda: used.append(len(asked)))
        return state + jnp.sum(batch[1]), jnp.sum(batch[1])

    source, lengths = Source(told, N), [63, 63, 77]
    epoch = jaxgd.stream(jaxgd.walk(update, B), source, B, prefetch=1)
    total, _ = epoch(jnp.zeros(()), KEY)
    jax.effects_barrier()
    assert total == Y.sum()
    assert asked == [1, *lengths]
    assert threading.main_thread() in threads  # the one row that decides the plan
    assert len(threads) == 2
    assert not any(thread.is_alive() for thread in threads - {threading.main_thread()})


def test_a_fit_reads_as_many_rows_as_it_visits_and_leaves_no_thread():
    asked = []

    def told(rows):
        asked.append(len(rows))
        return X[rows], Y[rows]

    before = threading.active_count()
    fitted(Source(told, N), progress=lambda now: now.epoch == 1)
    assert asked[0] == N  # a sample, here all of them
    assert asked[1:4] == [63, 63, 77]
    assert len(asked) <= 4 + 2  # and what was read ahead of the stop
    assert threading.active_count() == before


def test_no_segment_counts_as_an_epoch_in_a_state_of_ones_own():
    def update(state, batch):
        return state | {"total": state["total"] + jnp.sum(batch[1])}, jnp.zeros(())

    state = {"total": jnp.zeros(()), "epoch": jnp.asarray(4)}
    epoch = jaxgd.stream(jax.jit(jaxgd.visit(update, B)), Source(read, N), B, shuffle=False)
    state, outs = epoch(state)
    assert (state["epoch"], state["total"], outs.shape) == (4, Y.sum(), (29,))


def spoiled(rows):
    return np.where(rows[:, None] == 150, np.inf, X[rows]), Y[rows]


BAD = {
    "infinite": (spoiled, ValueError, r"finite in float32; got others in 1 rows of data\[0\] that"),
    "too few": (lambda rows: (X[rows[1:]], Y[rows[1:]]), ValueError, "as many rows as it is asked"),
    "ragged": (lambda rows: (X[rows], Y[rows[1:]]), ValueError, "same number of examples"),
    "text": (lambda rows: np.array(["a"] * len(rows)), TypeError, r"real numbers; got data of <U1"),
    "too large": (lambda rows: 2**40 + rows.astype(np.int64), ValueError, "integers that fit into"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_by_number(name):
    reader, error, message = BAD[name]
    with pytest.raises(error, match=message):
        Source(reader, N).rows(np.arange(N, dtype=np.int32))


def test_what_goes_wrong_in_the_thread_is_raised_and_the_run_is_kept(tmp_path):
    """The row is not in the sample: it is found when its turn comes."""
    n = 2000

    def one(rows):
        if len(rows) < 100 and 777 in rows:
            raise OSError("the disk is gone")
        return X[rows % N], Y[rows % N]

    with pytest.raises(OSError, match="the disk is gone"):
        fitted(Source(one, n), shuffle=False, checkpoint=tmp_path)
    again = fitted(
        Source(lambda r: (X[r % N], Y[r % N]), n),
        shuffle=False,
        checkpoint=tmp_path,
        resume=True,
        progress=lambda _: True,
    )
    assert again.position == (0, 777 // 63 * 9 + 9)


def test_divergence_names_rows_by_their_numbers():
    def explosive(params, example):
        return loss(params, example) + jnp.where(example[0][0] > 100, jnp.inf, 0.0)

    def one(rows):
        return np.where((rows == 120)[:, None], 101, X[rows]).astype(np.float32), Y[rows]

    with pytest.raises(Diverged) as caught:
        fitted(Source(one, N), loss=explosive)
    assert 120 in caught.value.rows


def test_what_cannot_be_streamed_is_refused():
    with pytest.raises(ValueError, match=r"need a batch_size; got batch_size=None. Full-batch"):
        fitted(Source(read, N), batch_size=None)
    with pytest.raises(ValueError, match=r"validation must be in memory; got a Source. Read its"):
        fitted(validation=Source(read, 9))
    with pytest.raises(ValueError, match="batch_size must be in"):
        unchecked(jaxgd.stream)(jaxgd.minibatch(loss, MOMENTUM, B), Source(read, 5), B)
    with pytest.raises(TypeError, match="a stream needs a key; got none"):
        jaxgd.stream(jaxgd.minibatch(loss, MOMENTUM, B), Source(read, N), B)(start(MOMENTUM))
    with pytest.raises(ValueError, match=r"n must be below 2\*\*31"):
        Source(read, 2**31)


def test_batches_of_an_iterable_are_placed_ahead_and_its_error_is_raised():
    def some():
        yield from ((X[i : i + B], Y[i : i + B]) for i in range(0, 21, B))
        raise OSError("no more")

    update, state = jaxgd.step(loss, MOMENTUM), start(MOMENTUM)
    whole = ((X[i : i + B], Y[i : i + B]) for i in range(0, 21, B))
    by_hand, losses = jaxgd.walk(update)(state, whole)
    ours, same_losses = jaxgd.walk(update)(
        state, ahead(zip(X[:21].reshape(3, B, -1), Y[:21].reshape(3, B), strict=True))
    )
    same((ours, same_losses), (by_hand, losses))
    batches_of = ahead(some())
    assert [len(next(batches_of)[1]) for _ in range(3)] == [B] * 3
    with pytest.raises(OSError, match="no more"):
        next(batches_of)


def test_rows_that_a_reader_changes_later_are_not_changed_here():
    buffer = np.empty((N, 5), np.float32)

    def reused(rows):
        np.take(X, rows, axis=0, out=buffer[: len(rows)])
        return buffer[: len(rows)], Y[rows]

    same(fitted(Source(reused, N)).state, fitted().state)
