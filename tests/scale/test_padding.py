"""Rows that `spread` has padded: whoever would train on the padding refuses them."""

from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import pytest

import jaxgd
from jaxgd.scale import data_parallel, spread
from tests.laws.problem import KEY, SGD, data, loss, start

PARAMS = start(SGD).params
OWNED = "owned"


@pytest.fixture(scope="module")
def padded():
    """61 rows on two devices, and three copies of the last."""
    return spread(data(61), mesh())


def mesh():
    return jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])


def plain(params, example):
    """The same loss, of which jaxgd does not know what it is."""
    return loss(params, example)


def by_row(params, example):
    return loss(params, example[0])


def fitted(table):
    return unchecked(jaxgd.fit)(loss, PARAMS, table, optimizer=SGD, epochs=1)


def epochs_of(epoch):
    return lambda table: epoch(start(SGD), table)


def trained(epoch):
    return lambda table: jaxgd.train(epoch, 1, row_keys=True)(start(SGD), table, KEY)


BLOCKED = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)
USES = {
    "fit": fitted,
    "gd": epochs_of(jaxgd.gd(loss, SGD)),
    "gd in chunks": epochs_of(jaxgd.gd(loss, SGD, chunk=10)),
    "sgd": epochs_of(jaxgd.sgd(loss, SGD)),
    "minibatch": epochs_of(jaxgd.minibatch(plain, SGD, 10)),
    "walk": epochs_of(jaxgd.walk(jaxgd.step(loss, SGD), 10)),
    "blocked": epochs_of(BLOCKED),
    "a run": lambda table: jaxgd.train(jaxgd.minibatch(loss, SGD, 10), 1)(start(SGD), table, KEY),
    "keys by row": trained(jaxgd.minibatch(by_row, SGD, 10)),
    "keys by row, owned": trained(data_parallel(by_row, SGD, 10, mesh(), rows=OWNED)),
    "a part of them": lambda table: jaxgd.gd(by_row, SGD)(start(SGD), (table, data(61)[1])),
}


@pytest.mark.parametrize("use", USES)
def test_they_are_refused_in_words(use, padded):
    with pytest.raises(
        ValueError, match=r"without padding; got rows that .*spread has padded\. .*without row_keys"
    ):
        USES[use](padded)
