"""`fit` with an epoch by eight devices: the numbers of one device, and the same when resumed."""

import jax
import numpy as np
import pytest

import jaxgd
from jaxgd import batches
from jaxgd.scale import data_parallel, on_mesh
from tests.laws.problem import KEY, MOMENTUM, data, leaves, loss, start
from tests.tolerances import REORDERED_F32

N, B = 61, 10


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    """Two segments of 30 and 31 rows: the last has a batch of one."""
    monkeypatch.setattr(batches, "SEGMENT_ROWS", 30)


def fitted(table, **options):
    return jaxgd.fit(
        loss,
        start(MOMENTUM).params,
        table,
        optimizer=MOMENTUM,
        epochs=2,
        batch_size=B,
        key=KEY,
        **options,
    )


@pytest.mark.usefixtures("quick_compile_here")
def test_eight_devices_fit_as_one_and_go_on_to_the_same_bits(tmp_path):
    mesh = jax.make_mesh((8,), ("data",))
    epoch, rows = data_parallel(loss, MOMENTUM, B, mesh), on_mesh(data(N), mesh)
    whole, alone = fitted(rows, epoch=epoch), fitted(data(N))
    assert {*whole.params.w.devices()} == {*jax.devices()}
    for ours, theirs in zip(leaves(whole.state), leaves(alone.state), strict=True):
        assert np.abs(ours - theirs).max() <= REORDERED_F32 * max(np.abs(theirs).max(), 1)
    np.testing.assert_allclose(whole.history.loss, alone.history.loss, atol=REORDERED_F32)

    def stop(now):
        return (now.epoch, now.update) == (0, 3)

    assert fitted(rows, epoch=epoch, checkpoint=tmp_path, progress=stop).position == (0, 3)
    again = fitted(rows, epoch=epoch, checkpoint=tmp_path, resume=True)
    for ours, theirs in zip(leaves(again.state), leaves(whole.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.history.loss, whole.history.loss)
