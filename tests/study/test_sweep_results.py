"""What is read off a sweep, on numbers made by hand; and which batch sizes share a program."""

import itertools

import numpy as np
import pytest

from jaxgd.study.halving import ladder
from jaxgd.study.labelled import Labelled
from jaxgd.study.micro_batches import shared_programs
from jaxgd.study.settings import settings_of
from jaxgd.study.sweeps import Sweep, _warn

pytestmark = pytest.mark.usefixtures("quick_compile")


def made(final, rates=(0.1, 0.2, 0.4), sizes=(1, 8, 50), diverged=None):
    """A sweep of two epochs whose last losses are `final` [rates, sizes, seeds]."""
    final = np.asarray(final, float)
    axes = {"lr": np.array(rates), "batch_size": np.array(sizes), "seed": np.arange(final.shape[2])}
    losses = Labelled(np.stack([final + 1, final], axis=-1), {**axes, "epoch": np.arange(1, 3)})
    lost = np.zeros(final.shape, bool) if diverged is None else diverged
    settings = settings_of({"lr": rates}, sizes, 50)
    return Sweep(losses, None, Labelled(lost, axes), (), settings, 50)


def final(best_at, seeds=2):
    losses = np.full((3, 3, seeds), 2.0)
    losses[best_at] = [1.0, 1.5][:seeds]
    return losses


def test_the_best_has_its_mean_and_spread():
    best = made(final((1, 1))).best
    assert (best.point, best.batch_size, best.loss) == ({"lr": 0.2}, 8, 1.25)
    assert best.spread == pytest.approx(0.5 / np.sqrt(2))
    assert best.edges == ()
    assert np.isnan(made(final((1, 1), seeds=1)).best.spread)


def test_a_setting_that_diverged_with_one_seed_is_not_the_best():
    lost = np.zeros((3, 3, 2), bool)
    lost[1, 1, 0] = True
    losses = final((1, 1))
    losses[2, 2] = 1.9
    best = made(losses, diverged=lost).best
    assert (best.point, best.batch_size) == ({"lr": 0.4}, 50)


@pytest.mark.parametrize(("at", "edges"), [((0, 1), ("lr",)), ((2, 0), ("lr",)), ((1, 2), ())])
def test_the_grids_edge_is_warned_of_but_no_batch_is_larger_than_all_rows(at, edges):
    sweep = made(final(at))
    assert sweep.best.edges == edges
    if edges:
        with pytest.warns(UserWarning, match="lies on the grid's edge: lr=0.[14] is the"):
            _warn(sweep)
    else:
        _warn(sweep)


def test_batch_sizes_have_an_edge_too():
    sweep = made(final((1, 2)), sizes=(8, 16, 32))
    with pytest.warns(UserWarning, match="batch_size=32 is the largest tried"):
        _warn(sweep)


def test_where_all_diverged_there_is_no_best():
    sweep = made(final((1, 1)), diverged=np.ones((3, 3, 2), bool))
    with pytest.raises(FloatingPointError, match="none is"):
        _ = sweep.best
    with pytest.warns(UserWarning, match="none is"):
        _warn(sweep)


def test_labels_select_and_positions_too():
    losses = made(final((1, 1))).losses
    assert losses.sel(lr=np.float32(0.2), batch_size=8, seed=1, epoch=2).values == 1.5
    part = losses.sel(lr=[0.1, 0.4], epoch=2)
    assert part.shape == (2, 3, 2)
    assert part.dims == ("lr", "batch_size", "seed")
    np.testing.assert_array_equal(part.axes["lr"], [0.1, 0.4])
    np.testing.assert_array_equal(losses.isel(epoch=-1), losses.sel(epoch=2))
    np.testing.assert_array_equal(losses.over("seed").sel(lr=0.2, batch_size=8), [2.25, 1.25])
    with pytest.raises(ValueError, match=r"lr must be one of \[0.1, 0.2, 0.4\]; got 0.3"):
        losses.sel(lr=0.3)
    with pytest.raises(ValueError, match="an axis must be one of"):
        losses.sel(rate=0.1)


def test_the_table_has_a_row_for_every_epoch_of_every_cell():
    table = made(final((1, 1))).table()
    assert list(table) == ["lr", "batch_size", "seed", "epoch", "loss", "diverged"]
    at = (table["lr"] == 0.2) & (table["batch_size"] == 8) & (table["seed"] == 1)
    np.testing.assert_array_equal(table["epoch"][at], [1, 2])
    np.testing.assert_array_equal(table["loss"][at], [2.5, 1.5])
    assert {len(column) for column in table.values()} == {36}


def test_sizes_share_a_program_while_it_pays():
    little, much = 10**3, 10**9
    assert shared_programs([8, 16, 64], 569, little) == [(8, (64, 16, 8))]
    assert shared_programs([1, 8, 16, 569], 569, little) == [(1, (569, 16, 8, 1))]
    assert shared_programs([1, 8, 16], 569, much) == [(16, (16,)), (8, (8,)), (1, (1,))]
    assert shared_programs([1, 64, 128], 569, 10**6) == [(64, (128, 64)), (1, (1,))]
    assert shared_programs([12, 18], 100, little) == [(6, (18, 12))]
    assert shared_programs([569], 569, little) == [(569, (569,))]


def test_a_ladder_never_spends_more_than_its_budget():
    for settings, rungs, factor in itertools.product((1, 2, 7, 64, 100), (1, 2, 3, 5), (1, 1.7, 9)):
        budget = int(settings * rungs * factor)
        steps = ladder(settings, budget, rungs)
        assert steps[0][0] == settings
        assert sum(count * epochs for count, epochs in steps) <= budget
        assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(steps))
    assert ladder(64, 768, 3) == [(64, 4), (16, 16), (4, 64)]
    with pytest.raises(ValueError, match="budget must be rungs × settings epochs or more"):
        ladder(10, 29, 3)
