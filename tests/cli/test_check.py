"""`jaxgd check` passes where the numbers are right, and fails where they are not."""

from collections import Counter
from itertools import islice
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxgd import optim, reliability
from jaxgd.cli import check_command
from jaxgd.equivalence import compare
from jaxgd.interop.torch import conformance as check

pytestmark = pytest.mark.optax_promotion


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lesson_the_descents_and_an_optimizer_pass(dtype):
    checked = list(islice(check.checks([dtype]), 5))
    assert [each.algorithm for each in checked] == [
        "the lesson",
        "gd",
        "sgd",
        "minibatch",
        "minibatch, adadelta",
    ]
    for each in checked:
        assert each.passed, str(each.report)
        assert each.dtype == dtype
        assert {leaf.dtype for leaf in each.report.leaves} == {dtype}


@pytest.mark.parametrize("name", check._checked_optimizers())
def test_every_optimizer_is_made_on_both_sides(name):
    torch_name, options = check._checked_optimizers()[name]
    optim.by_name(name)(**options).init(jnp.zeros(5))
    getattr(torch.optim, torch_name)([torch.nn.Parameter(torch.zeros(5))], **options)


def test_a_wrong_learning_rate_does_not_pass(monkeypatch):
    monkeypatch.setattr(check.optim, "by_name", lambda _: wrong_adadelta)
    *_, last = islice(check.checks(["float32"]), 5)
    assert (last.algorithm, last.passed) == ("minibatch, adadelta", False)


def wrong_adadelta(lr, **options):
    return optim.adadelta(lr * (1 + 1e-4), **options)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_exit_status_tells(monkeypatch, capsys, wrong):
    walk = np.cumsum(np.ones((5, 3), np.float32), axis=0)
    report = compare((walk * np.float32(1 + 1e-3 * wrong),), (walk,))
    monkeypatch.setattr(check, "checks", lambda: [check.Checked("float32", "gd", report)])
    if wrong:
        with pytest.raises(SystemExit, match="1"):
            check_command.check()
    else:
        check_command.check()
    printed = capsys.readouterr().out
    assert 'jax.default_matmul_precision("highest")' in printed
    assert ("parted" if wrong else "equivalent") in printed
    assert ("gd in float32:\nThe runs part at update 0 of 4" in printed) == wrong


@pytest.mark.parametrize(("columns", "widest"), [("40", 55), ("60", 60)])
def test_no_figure_of_reliability_is_cut_on_a_narrow_screen(monkeypatch, capsys, columns, widest):
    monkeypatch.setenv("COLUMNS", columns)
    figure = SimpleNamespace(
        tried="a long name of what was tried", verdicts=Counter(right=1234567), passed=True
    )
    monkeypatch.setattr(reliability, "figures", lambda *_: [figure])
    check_command.check(reliability=True)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("crashed", "refused", "hung", "1234567"))
    assert max(map(len, printed.splitlines())) <= widest
