"""In which precision products are computed: in the traced program, and in what a fit tells."""

import re

import jax
import jax.numpy as jnp
import numpy as np
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
