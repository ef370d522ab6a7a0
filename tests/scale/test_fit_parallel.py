"""`fit` by several devices: rows stay where they lie, and a run goes on with another number."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jaxgd
from jaxgd import batches
from jaxgd.fitting.fingerprint import of_lying
from jaxgd.scale import data_parallel, own_rows, spread
from jaxgd.streaming import Source
from tests.laws.problem import KEY, MOMENTUM, data, leaves, loss, start
from tests.tolerances import REORDERED_F32

N, B = 61, 10
TABLE = jax.tree.map(np.asarray, data(N))


def mesh(devices):
    return jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])


def epoch(devices, **options):
    return data_parallel(loss, MOMENTUM, B, mesh(devices), **options)


def fit(by, rows=TABLE, **options):
    settings = {"optimizer": MOMENTUM, "epochs": 2, "batch_size": B, "key": KEY, **options}
    held_out = jax.tree.map(lambda a: a[:20], TABLE)
    return jaxgd.fit(loss, start(MOMENTUM).params, rows, epoch=by, validation=held_out, **settings)


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 20)


def bits(run):
    history = run.history
    return b"".join(a.tobytes() for a in leaves((run.state, history.loss, history.validation_loss)))


def test_it_is_the_fit_of_one_device_and_goes_on_with_another_number(tmp_path):
    ordered = {"rows": "owned", "deterministic": True}
    whole = fit(epoch(1, **ordered))
    fit(epoch(4, **ordered), epochs=1, checkpoint=tmp_path)
    gone_on = fit(epoch(1, **ordered), checkpoint=tmp_path, resume=True)  # and warns of nothing
    assert bits(gone_on) == bits(whole)
    alone = fit(None)
    for ours, theirs in zip(leaves(whole.state), leaves(alone.state), strict=True):
        assert np.abs(ours - theirs).max() <= REORDERED_F32
    assert np.abs(whole.history.loss - alone.history.loss).max() <= REORDERED_F32
    with pytest.raises(ValueError, match="the epoch is another"):
        fit(epoch(1), checkpoint=tmp_path, resume=True)


def test_rows_are_known_again_however_they_are_spread():
    marks = {of_lying(spread(TABLE, mesh(devices))) for devices in (1, 3, 8)}
    assert len(marks) == 1
    for row, change in ((0, 1e-6), (N - 1, -1e-6)):
        x = TABLE[0].copy()
        x[row, 1] += change
        marks.add(of_lying(spread((x, TABLE[1]), mesh(8))))
    exchanged = jax.tree.map(lambda a: a[[1, 0, *range(2, N)]], TABLE)
    marks.add(of_lying(spread(exchanged, mesh(8))))
    assert len(marks) == 4


def test_rows_of_ones_own_lie_as_those_of_all():
    here = mesh(8)
    assert (own_rows(N, here) == np.arange(N)).all()
    ours, theirs = spread(TABLE, here, n=N), spread(TABLE, here)
    for a, b in zip(leaves(ours.rows), leaves(theirs.rows), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=f"with n=70 each process gives its own .* got {N}"):
        spread(TABLE, here, n=70)


def test_rows_that_lie_in_equal_parts_are_not_copied():
    rows = jax.tree.map(lambda a: a[:20], TABLE)
    laid = jax.device_put(rows, NamedSharding(mesh(4), PartitionSpec("data")))
    assert epoch(4, rows="owned").placed(laid) is laid
    assert epoch(2, rows="owned").placed(laid).n == 20
    assert epoch(4, rows="owned", deterministic=True).placed(laid).n == 20  # in 16 parts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row_keys": True}, "got row_keys=True with epoch=data_parallel"),
        ({"rows": Source(lambda rows: TABLE, N)}, "got a Source with epoch=data_parallel"),
        ({"batch_size": 7}, "epoch must make the updates of batch_size"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(epoch(2), **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("10.0.0.1", 2, 0), "coordinator must be HOST:PORT; got '10.0.0.1'"),
        (("10.0.0.1:1", None, 0), "a coordinator needs the number of processes"),
        (("10.0.0.1:1", 2, 2), r"index must be in \[0, processes\); got index=2 of 2"),
        (("10.0.0.1:1", 0, 0), "processes must be at least 1; got processes=0"),
    ],
)
def test_what_a_process_cannot_join(arguments, message):
    with pytest.raises(ValueError, match=message):
        jaxgd.scale.join(*arguments)
    with pytest.raises(ValueError, match="timeout must be at least 5 seconds; got timeout=1"):
        jaxgd.scale.join(timeout=1)
