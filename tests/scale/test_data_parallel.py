"""One training by eight devices is that of one, and sends what it says and no more."""

from functools import cache, partial
from inspect import unwrap as unchecked  # as users call it: without the suite's type checker

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxgd
from benchmarks.compiled_text import COLLECTIVES, kind, read, result_bytes
from jaxgd.scale import data_parallel, on_mesh, spread
from tests.laws.problem import KEY, MOMENTUM, SGD, D, data, leaves, loss, start
from tests.tolerances import RECOMPUTED_F32, REORDERED_F32, SEARCHED_F32

N = 61  # neither it nor a batch of 10, nor the last one of 1, is a multiple of the devices
SIZE = D + 1
PLACE = {"whole": on_mesh, "owned": spread}
SEARCH = optax.chain(
    optax.sgd(1.0),
    optax.scale_by_zoom_linesearch(max_linesearch_steps=3),
    optax.contrib.reduce_on_plateau(patience=1, rtol=0.9, factor=0.5),
)


quick = pytest.mark.usefixtures("quick_compile_here")


@cache
def mesh(kind=AxisType.Auto, devices=8):
    return jax.make_mesh((devices,), ("data",), (kind,), devices=jax.devices()[:devices])


def alone(optimizer, b):
    epoch = jaxgd.gd(loss, optimizer) if b is None else jaxgd.minibatch(loss, optimizer, b)
    return jax.jit(jaxgd.train(epoch, 3))(start(optimizer), data(N), KEY)


def together(optimizer, b, rows):
    epoch = data_parallel(loss, optimizer, b, mesh(), rows=rows)
    return jax.jit(jaxgd.train(epoch, 3))(start(optimizer), PLACE[rows](data(N), mesh()), KEY)


def assert_close(ours, theirs, limit=REORDERED_F32):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert np.abs(a - b).max() <= limit * max(np.abs(b).max(), 1)


def sent(compiled):
    """The collectives of a compiled program and the bytes that each delivers, by times run."""
    each = read(compiled.as_text()).each()
    return [(times, kind(i), result_bytes(i)) for times, i in each if kind(i) in COLLECTIVES]


@quick
@pytest.mark.parametrize(
    ("b", "rows"), [(None, "whole"), (None, "owned"), (10, "whole"), (10, "owned")]
)
def test_eight_devices_train_as_one(b, rows):
    assert_close(together(MOMENTUM, b, rows), alone(MOMENTUM, b))


@quick
@pytest.mark.optax_promotion
def test_an_optimizer_that_uses_the_loss_is_given_that_of_the_whole_batch():
    """A line search, which differentiates the objective itself, and then a plateau."""
    ours, theirs = together(SEARCH, None, "owned"), alone(SEARCH, None)
    assert_close((ours[0].params, ours[1]), (theirs[0].params, theirs[1]), SEARCHED_F32)
    assert ours[0].opt_state[-1].scale == theirs[0].opt_state[-1].scale < 1


@quick
def test_rows_that_no_order_names_and_padding_are_not_trained_on():
    """They are infinite here, and no batch has a row of some of the devices."""
    x, y = data(N)
    bad = jnp.arange(N) >= 20
    spoilt = spread((jnp.where(bad[:, None], jnp.inf, x), y), mesh())
    epoch = jax.jit(data_parallel(loss, SGD, 8, mesh(), rows="owned"))
    assert_close(
        epoch(start(SGD), spoilt, jnp.arange(20)),
        jax.jit(jaxgd.minibatch(loss, SGD, 8))(start(SGD), data(N), jnp.arange(20)),
    )


@pytest.mark.parametrize(
    ("b", "rows", "updates"), [(None, "owned", 1), (16, "whole", 4), (16, "owned", 4)]
)
def test_an_update_sends_the_gradient_and_the_loss(b, rows, updates):
    epoch = data_parallel(loss, MOMENTUM, b, mesh(), rows=rows)
    placed = PLACE[rows](data(64), mesh())
    compiled = jax.jit(epoch).lower(start(MOMENTUM), placed, jnp.arange(64)).compile()
    assert sent(compiled) == [(updates, "all-reduce", 4 * (SIZE + 1))]


@pytest.mark.parametrize(("kind", "n"), [(AxisType.Auto, 61), (AxisType.Explicit, 48)])
def test_batch_sharding_sends_the_gradient_and_the_loss(kind, n):
    """Of rows placed on the mesh; without it every device works on the whole batch."""
    rows = on_mesh(data(n), mesh(kind))
    epoch = jax.jit(jaxgd.minibatch(loss, MOMENTUM, 16, batch_sharding=P("data")))
    order = jaxgd.shuffle(KEY, n)
    compiled = epoch.lower(on_mesh(start(MOMENTUM), mesh(kind)), rows, order).compile()
    assert sent(compiled) == [(3, "all-reduce", 4 * (SIZE + 1))]
    ours = compiled(on_mesh(start(MOMENTUM), mesh(kind)), rows, order)
    assert_close(
        ours, jax.jit(jaxgd.minibatch(loss, MOMENTUM, 16))(start(MOMENTUM), data(n), order)
    )


def explicit(epoch, table, order):
    """One epoch of rows sharded along an Explicit axis, the state on no mesh."""
    placed = jax.device_put(table, NamedSharding(mesh(AxisType.Explicit), P("data")))
    return jax.jit(epoch)(start(SGD), placed, order)


BLOCKED = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)


@quick
@pytest.mark.parametrize(
    ("epoch", "shuffled"),
    [
        (jaxgd.gd(loss, SGD), False),
        (jaxgd.minibatch(loss, SGD, 9), True),
        (BLOCKED, True),
        (BLOCKED, False),
    ],
    ids=["gd", "minibatch", "blocked", "blocked as they lie"],
)
def test_explicit_axes(epoch, shuffled):
    order = jaxgd.shuffle(KEY, 40) if shuffled else None
    assert_close(explicit(epoch, data(40), order), jax.jit(epoch)(start(SGD), data(40), order))


@quick
def test_fit_along_explicit_axes():
    placed = jax.device_put(data(40), NamedSharding(mesh(AxisType.Explicit), P("data")))
    settings = {"optimizer": SGD, "epochs": 1, "batch_size": 9, "key": KEY}
    run = jaxgd.fit(loss, start(SGD).params, placed, **settings)
    assert_close(run.params, jaxgd.fit(loss, start(SGD).params, data(40), **settings).params)


def slope(differentiate, epoch_of, table):
    """The derivative of an epoch's last loss in the learning rate."""

    def final(rate):
        return epoch_of(optax.sgd(rate))(start(SGD), table)[1][-1]

    return jax.jit(differentiate(final))(jnp.float32(0.1))


@quick
def test_it_can_be_differentiated():
    """Owned mini-batches in forward mode, all else in both."""
    expected = slope(jax.grad, lambda o: jaxgd.minibatch(loss, o, 10), data(20))
    for rows, mode in {"whole": jax.grad, "owned": jax.jacfwd}.items():
        parallel = partial(data_parallel, loss, batch_size=10, mesh=mesh(), rows=rows)
        found = slope(mode, lambda o: parallel(optimizer=o), PLACE[rows](data(20), mesh()))  # noqa: B023
        assert abs(found - expected) <= RECOMPUTED_F32 * abs(expected) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unchecked(data_parallel)(loss, SGD, 8, mesh(), rows="mine"), "rows must be"),
        (
            lambda: data_parallel(loss, SGD, 8, mesh(), axis="rows"),
            "axis must be one of the mesh's",
        ),
        (
            lambda: data_parallel(loss, SGD, 8, mesh(devices=6), deterministic=True),
            "two or more for each device; got 6 devices",
        ),
        (
            lambda: data_parallel(loss, SGD, 8, mesh(), rows="owned")(start(SGD), data(N)),
            "owned rows must divide into 8 equal parts; got n=61",
        ),
        (
            lambda: data_parallel(loss, SGD, 8, mesh())(start(SGD), spread(data(N), mesh())),
            "data are spread",
        ),
        (
            lambda: jaxgd.minibatch(loss, SGD, 9, batch_sharding=P("data"))(
                start(SGD), on_mesh(data(N), mesh())
            ),
            "batch_size must be a multiple of the 8 devices of batch_sharding; got batch_size=9",
        ),
        (
            lambda: jaxgd.minibatch(loss, SGD, 8, batch_sharding=P("data"))(start(SGD), data(N)),
            "batch_sharding must name the mesh axes",
        ),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
