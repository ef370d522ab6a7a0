"""PyTorch's own table of optimizer configurations and of bad ones, on both sides."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from jaxgd import optim
from jaxgd.optim.options import KERNELS
from jaxgd.optim.registry import REGISTRY
from tests.optim import torchs_table
from tests.optim.parity_page import counted
from tests.optim.test_signatures import defaults, torchs_own
from tests.optim.torchs_table import INFOS, outcomes

PAGE = (Path(__file__).parents[2] / "docs" / "torch-parity.md").read_text()

pytestmark = [pytest.mark.optax_promotion, pytest.mark.usefixtures("x64")]


@pytest.mark.halved
@pytest.mark.parametrize("optimizer", REGISTRY)
def test_nothing_of_torchs_own_cases_fails(optimizer):
    found = outcomes(optimizer)
    assert [each for each in found if each.result == "failed"] == []
    assert [each for each in found if each.result != "passed" and not each.sentence] == []
    assert counted(optimizer, found) in PAGE, "python -m tests.optim.parity_page"


def test_torchs_table_has_every_optimizer():
    assert {info.optim_cls.__name__ for info in INFOS.values()} == torchs_own()


def test_a_canary_of_each_way(monkeypatch):
    """An lr of 1e-4 more, with groups, flags and absent gradients, is seen in every input."""
    wrong = REGISTRY["sgd"].build

    def larger(lr=1e-3, **options):
        return wrong(lr=lr * (1 + 1e-4), **options)

    monkeypatch.setattr(optim, "by_name", lambda name: larger)
    found = [each for each in torchs_table._trained("sgd") if ", groups" not in each.entry]
    assert {each.result for each in found} == {"failed", "departs"}


@pytest.mark.parametrize("optimizer", REGISTRY)
def test_what_chooses_a_kernel_is_taken_where_torch_has_it(optimizer):
    theirs = KERNELS & set(defaults(INFOS[optimizer].optim_cls))
    optim.by_name(optimizer)(**dict.fromkeys(theirs, False)).init({"w": jnp.ones((2, 2))})
    assert not KERNELS & set(defaults(optim.by_name(optimizer)))
