"""In which precision products are computed: in the traced program, and in what a fit tells."""

import gc
import re
import weakref
from functools import partial
from inspect import signature

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import jaxgd
from tests.laws.problem import KEY, SGD, data

MLP = jaxgd.init_mlp(jax.random.key(1), (5, 4, 1))


def one_output(params, x):
    return jaxgd.mlp(params, x)[0]


LOSS = jaxgd.supervised(one_output, jaxgd.binary_cross_entropy_with_logits)


def products(fn, *args, platform="tpu"):
    """The precisions of all products of a program, as a platform's compiler is told them."""
    text = export.export(jax.jit(fn), platforms=(platform,))(*args).mlir_module()
    found = re.findall(r"stablehlo\.dot_general .*", text)
    assert found
    return [set(re.findall(r"DEFAULT|HIGHEST|HIGH", line)) or {"DEFAULT"} for line in found], text


@pytest.mark.parametrize(
    ("precision", "told"), [("default", "DEFAULT"), ("high", "HIGH"), ("highest", "HIGHEST")]
)
def test_every_product_of_a_run_is_told_so_its_gradient_too(precision, told):
    loss = jaxgd.in_precision(LOSS, precision)
    run = jaxgd.train(jaxgd.minibatch(loss, SGD, 8), 1)
    found, _ = products(run, jaxgd.init_state(MLP, SGD), data(), KEY)
    assert len(found) >= 5  # two forward, three backward
    assert all(one == {told} for one in found)


LINEAR = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def rows_at(loss, rate):
    """The training of a linear predictor by single rows, and its last loss."""
    optimizer = optax.sgd(rate)
    state = jaxgd.init_state(jaxgd.init_linear(5), optimizer)
    state, losses = jaxgd.train(jaxgd.sgd(loss, optimizer), 1)(state, data(), KEY)
    return losses[-1, -1], state


def predicted_in(predict, precision):
    return jaxgd.supervised(jaxgd.in_precision(predict, precision), LINEAR.loss)


@pytest.mark.parametrize("of", [jaxgd.in_precision, lambda *_: predicted_in(jaxgd.linear, "high")])
def test_single_rows_of_a_linear_predictor_keep_their_own_gradient(of):
    """It has no product on a CPU, and what it has elsewhere is told of, derivatives too."""
    loss = of(LINEAR, "high")
    ours = jax.jit(partial(rows_at, loss))
    assert " dot(" not in ours.lower(0.1).compile().as_text()
    both = ours(0.1), jax.jit(partial(rows_at, LINEAR))(0.1)
    for a, b in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_array_equal(a, b)
    slope = jax.grad(lambda rate: rows_at(loss, rate)[0])
    for fn in (slope, jax.vmap(slope)):
        found, _ = products(fn, jnp.full(3, 0.1) if fn is not slope else 0.1)
        assert len(found) == 2  # of the row that is visited, and of its derivative
        assert all(one == {"HIGH"} for one in found)


def test_bfloat16_computes_in_it_and_updates_the_masters_in_float32():
    predict = jaxgd.in_precision(one_output, "bfloat16")
    loss = jaxgd.supervised(predict, jaxgd.binary_cross_entropy_with_logits)
    _, text = products(jax.grad(jaxgd.mean(loss)), MLP, data())
    assert not re.search(r"dot_general .*xf32>", text)
    state = jaxgd.init_state(MLP, SGD)
    state, value = jax.jit(jaxgd.step(loss, SGD))(state, data())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"float32"}
    assert value.dtype == jnp.float32
    exact, _ = jax.jit(jaxgd.step(LOSS, SGD))(jaxgd.init_state(MLP, SGD), data())
    for ours, theirs, before in zip(
        *map(jax.tree.leaves, (state.params, exact.params, MLP)), strict=True
    ):
        moved = float(jnp.abs(theirs - before).max())
        # bfloat16 has eight bits: the update is right to a few per cent, the master not rounded.
        assert 0 < float(jnp.abs(ours - theirs).max()) < 0.05 * moved
        assert (ours != ours.astype(jnp.bfloat16).astype(jnp.float32)).any()


def test_keys_and_integers_stay_what_they_are():
    seen = {}

    def drawn(params, example):
        (x, label), key = example
        seen.update(x=x.dtype, label=label.dtype, key=key.dtype)
        return params.sum() + x.sum() + jax.random.normal(key, (), x.dtype)

    row = (jnp.ones(3), jnp.asarray(2)), jax.random.key(0)
    assert jaxgd.in_precision(drawn, "bfloat16")(jnp.ones(2), row).dtype == jnp.float32
    assert seen == {"x": jnp.bfloat16, "label": jnp.int32, "key": row[1].dtype}


@pytest.mark.parametrize("precision", ["highest", "bfloat16"])
def test_fit_takes_it_tells_it_and_finds_its_program_again(precision, caplog):
    options = {"optimizer": SGD, "epochs": 2, "batch_size": 8, "key": KEY, "precision": precision}
    first = jaxgd.fit(LOSS, MLP, data(), **options)
    assert first.history.precision == precision
    with jax.log_compiles(), caplog.at_level("WARNING"):
        second = jaxgd.fit(LOSS, MLP, data(), **options)
    assert not [r for r in caplog.records if "XLA compilation of jit(epoch" in r.getMessage()]
    np.testing.assert_array_equal(first.history.loss, second.history.loss)
    plain = jaxgd.fit(LOSS, MLP, data(), **(options | {"precision": "default"}))
    # A CPU computes float32 in float32 whatever it is told.
    equal = np.array_equal(plain.history.loss, first.history.loss)
    assert equal == (precision == "highest")
    assert plain.history.precision == "default"


class Unhashable:
    """A loss such as a dataclass with fields that may change: equal to others, without a hash."""

    __hash__ = None

    def __call__(self, params, example):
        return LINEAR(params, example)


def test_a_loss_without_a_hash_is_taken_as_well():
    options = {"optimizer": SGD, "epochs": 1, "batch_size": 8, "key": KEY}
    found = [
        jaxgd.fit(Unhashable(), jaxgd.init_linear(5), data(), **options, precision=precision)
        for precision in ("highest", "default")
    ]
    np.testing.assert_array_equal(*(one.history.loss for one in found))


def test_few_losses_are_kept_alive():
    def loss_of(rows):
        return lambda params, example: LINEAR(params, example) + rows[0]

    losses = [loss_of(jnp.ones(3)) for _ in range(40)]
    alive = [weakref.ref(loss) for loss in losses]
    for loss in losses:
        assert jaxgd.in_precision(loss, "high") is jaxgd.in_precision(loss, "high")
    del loss, losses
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 16


def test_it_bears_the_name_and_the_signature_of_its_function():
    ours = jaxgd.in_precision(one_output, "highest")
    assert ours.__name__ == "one_output"
    assert [*signature(ours).parameters] == ["params", "x"]


def test_a_checkpoint_is_of_its_precision(tmp_path):
    options = {"optimizer": SGD, "epochs": 1, "batch_size": 8, "key": KEY, "checkpoint": tmp_path}
    jaxgd.fit(LOSS, MLP, data(), **options)
    with pytest.raises(ValueError, match="precision was default, is highest"):
        jaxgd.fit(LOSS, MLP, data(), **options, precision="highest", resume=True)


def test_bad_settings_are_refused():
    options = {"optimizer": SGD, "epochs": 1, "batch_size": 1, "key": KEY}
    with pytest.raises(ValueError, match=r'precision must be one of "default", .*; got \'low\''):
        jaxgd.precision.check_precision("low")
    epoch = jaxgd.blocked_sgd(jaxgd.binary_cross_entropy_with_logits, 0.1)
    loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
    with pytest.raises(ValueError, match="takes its params as they are; got precision"):
        jaxgd.fit(loss, jaxgd.init_linear(5), data(), **options, epoch=epoch, precision="bfloat16")
