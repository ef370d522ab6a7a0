"""A small part of `python -m tests.interop.torch.moves 500`: each optimizer once, and shorter."""

import pytest

from jaxgd.interop.torch import to_torch_scheduler_state_dict
from tests.interop.torch import moves
from tests.optim.cases import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.optax_promotion
def test_no_move_is_unexplained():
    assert moves.unexplained(range(len(OPTIMIZERS)), parts=3) == []


def test_a_scheduler_an_update_behind_is_seen(monkeypatch):
    """A canary: what a schedule's place decides, in both kinds of place."""

    def behind(scheduler, position, count):
        return to_torch_scheduler_state_dict(scheduler, position, count - 1)

    monkeypatch.setattr(moves, "to_torch_scheduler_state_dict", behind)
    draw = next(d for d in map(moves.drawn, range(99)) if d.schedule == "restarts")
    assert moves.error(draw)[0] > moves.bound(draw)
