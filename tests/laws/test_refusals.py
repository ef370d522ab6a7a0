"""What the core refuses while tracing, and what it takes although it once did not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import sparse
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxgd
from tests.laws.problem import EPOCHS, KEY, SGD, B, D, N, data, leaves, loss, start
from tests.tolerances import REORDERED_F32

pytestmark = pytest.mark.usefixtures("quick_compile")

every_algorithm = pytest.mark.parametrize("name", EPOCHS)


@every_algorithm
def test_complex_params_are_refused(name):
    params = {"w": jnp.zeros(D, jnp.complex64)}
    with pytest.raises(TypeError, match=r"must be real; got params\['w'\] of complex64"):
        jaxgd.init_state(params, SGD)
    state = jaxgd.State(params, SGD.init(params))

    def own(params, example):
        return jnp.abs(example[0] @ params["w"])

    with pytest.raises(TypeError, match="along whose gradient a step ascends"):
        EPOCHS[name](own, SGD)(state, data())
    with pytest.raises(TypeError, match="must be real"):
        jaxgd.fit(own, params, data(), optimizer=SGD, epochs=1)


@every_algorithm
def test_a_loss_that_is_no_scalar_is_refused(name):
    def two(params, example):
        return jnp.stack([loss(params, example)] * 2)

    with pytest.raises(ValueError, match=r"must return a scalar for one example; got shape \(2,\)"):
        jax.jit(EPOCHS[name](two, SGD)).lower(start(SGD), data())


ALIASING = {
    "lbfgs": optax.lbfgs(),
    "ema of params": optax.chain(optax.sgd(0.1), optax.ema(0.9)),
    "prodigy": optax.contrib.prodigy(0.1),
    "mechanize": optax.contrib.mechanize(optax.sgd(0.1)),
    "cocob": optax.contrib.cocob(),
}


@pytest.mark.optax_promotion
@pytest.mark.parametrize("optimizer", ALIASING.values(), ids=ALIASING)
def test_a_state_that_holds_the_params_twice_may_be_donated(optimizer):
    params = jaxgd.Linear(jnp.full(D, 0.1), jnp.asarray(0.1))
    run = jax.jit(jaxgd.train(jaxgd.gd(loss, optimizer), 2), donate_argnums=0)
    state, _ = run(jaxgd.init_state(params, optimizer), data(), KEY)
    run(state, data(), KEY)
    np.testing.assert_array_equal(params.w, np.full(D, 0.1, np.float32))  # not given away


def telling(told):
    """Plain steps by an optimizer that notes what else it was given."""

    def update(grads, state, params=None, **extra):
        told.append(sorted(extra))
        return jax.tree.map(lambda g: -0.1 * g, grads), state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


@pytest.mark.optax_promotion
def test_multi_steps_hands_on_what_its_optimizer_takes():
    told = []
    optimizer = optax.MultiSteps(telling(told), 3)
    jaxgd.step(loss, optimizer)(start(optimizer), data())
    assert told
    assert set(told[0]) >= {"value", "grad", "value_fn"}


@pytest.mark.optax_promotion
@pytest.mark.parametrize("opaque", [False, True])
def test_sharpness_aware_minimization_descends(opaque):
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    sam = optax.contrib.sam(optax.sgd(0.1), ascent, opaque_mode=opaque)
    run = jax.jit(jaxgd.train(jaxgd.minibatch(loss, sam, B), 20))
    _, losses = run(start(sam), data(), KEY)
    assert losses[-1].mean() < losses[0].mean() - 0.1


@pytest.mark.optax_promotion
@pytest.mark.filterwarnings("ignore:.seed. is deprecated")
def test_an_optimizer_of_gradients_by_example_is_given_them():
    """Plain ones it refuses itself; without noise and with a wide clip it is plain descent."""
    private = optax.contrib.dpsgd(0.1, 1e6, 0.0, 0)
    with pytest.raises(ValueError, match="to have a batch dimension"):
        jaxgd.step(loss, private)(start(private), data())

    def by_example(params, batch):
        values, grads = jax.vmap(jax.value_and_grad(loss), (None, 0))(params, batch)
        return values.mean(), grads

    update = jaxgd.descend(jaxgd.mean(loss), private, value_and_grad=by_example)
    _, ours = jax.jit(jaxgd.train(jaxgd.visit(update, B), 3))(start(private), data(), KEY)
    _, plain = jax.jit(jaxgd.train(jaxgd.minibatch(loss, SGD, B), 3))(start(SGD), data(), KEY)
    np.testing.assert_allclose(ours, plain, rtol=1e-5)


def test_updates_that_would_spread_are_refused():
    spreading = optax.GradientTransformation(
        lambda params: (), lambda g, s, p=None: (jax.tree.map(jnp.sum, g), s)
    )
    message = r"must have the shapes of params; got .*w='\(\)', .* for .*w='\(5,\)'"
    with pytest.raises(ValueError, match=message):
        jaxgd.step(loss, spreading)(start(spreading), data())
    with pytest.raises(ValueError, match=message):
        jaxgd.fit(loss, start(SGD).params, data(), optimizer=spreading, epochs=1)


def test_leaves_that_are_no_arrays_are_named():
    params = {"w": jnp.zeros(D), "activation": jnp.tanh}
    with pytest.raises(TypeError, match=r"params\['activation'\], a .* eqx.partition"):
        jaxgd.init_state(params, SGD)


def test_an_equinox_module_is_told_to_keep_its_functions_out():
    eqx = pytest.importorskip("equinox")
    module = eqx.nn.MLP(D, "scalar", 4, 1, key=KEY)
    with pytest.raises(TypeError, match=r"\.activation.* eqx\.partition"):
        jaxgd.init_state(module, SGD)
    params, static = eqx.partition(module, eqx.is_inexact_array)

    def own(params, example):
        logit = eqx.combine(params, static)(example[0])
        return jaxgd.binary_cross_entropy_with_logits(logit, example[1])

    run = jax.jit(jaxgd.train(jaxgd.minibatch(own, SGD, B), 5))
    _, losses = run(jaxgd.init_state(params, SGD), data(), KEY)
    assert losses[-1].mean() < losses[0].mean()


@pytest.mark.optax_promotion
@every_algorithm
def test_another_optimizers_state_is_named(name):
    message = r"of this optimizer, \(ScaleByAdamState, EmptyState\); got \(EmptyState, EmptyState\)"
    epoch = EPOCHS[name](loss, optax.adam(0.1))
    with pytest.raises(ValueError, match=message):
        epoch(start(SGD), data())
    with pytest.raises(ValueError, match=message):
        jaxgd.fit(loss, start(SGD), data(), optimizer=optax.adam(0.1), epochs=1)


def test_a_state_of_another_kind_is_named():
    with pytest.raises(TypeError, match=r"must be a State\(params, opt_state\); got a Linear"):
        jaxgd.step(loss, SGD)(start(SGD).params, data())


@every_algorithm
def test_sparse_rows_are_refused(name):
    x, y = data()
    with pytest.raises(TypeError, match=r"data must be dense; got a sparse array.* \.todense\(\)"):
        jaxgd.train(EPOCHS[name](loss, SGD), 1)(start(SGD), (sparse.BCOO.fromdense(x), y), KEY)


def on_devices(fn, *arguments, specs):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=(P(), P())))(*arguments)


def test_inside_shard_map_replicated_params_descend_on_the_rows_of_all_devices():
    epoch, table = jaxgd.gd(loss, SGD), data(24)
    ours = on_devices(epoch, start(SGD), table, specs=(P(), P("rows")))
    for a, b in zip(leaves(ours), leaves(epoch(start(SGD), table)), strict=True):
        np.testing.assert_allclose(a, b, rtol=REORDERED_F32, atol=REORDERED_F32)


def test_inside_shard_map_params_that_differ_by_device_see_their_own_rows():
    epoch, table = jaxgd.gd(loss, SGD), data(24)

    def own(state, rows):
        state, losses = epoch(jax.lax.pcast(state, "rows", to="varying"), rows)
        first = jax.lax.axis_index("rows") == 0
        return jax.lax.psum(jax.tree.map(lambda a: jnp.where(first, a, 0), (state, losses)), "rows")

    ours = on_devices(own, start(SGD), table, specs=(P(), P("rows")))
    alone = epoch(start(SGD), jax.tree.map(lambda a: a[:3], table))
    for a, b in zip(leaves(ours), leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=REORDERED_F32, atol=REORDERED_F32)


@pytest.mark.optax_promotion
def test_a_line_search_works_in_chunks_too():
    """Its values and gradients are those of all rows, and its memory that of a chunk."""
    n, chunk, lbfgs = 20_000, 500, optax.lbfgs()
    state = jax.eval_shape(lambda: start(lbfgs))
    table = jax.eval_shape(lambda: data(n))

    def working_set(chunk):
        epoch = jax.jit(jaxgd.gd(loss, lbfgs, chunk=chunk))
        return epoch.lower(state, table).compile().memory_analysis().temp_size_in_bytes

    assert working_set(chunk) < n * 4 < working_set(n)
    some = data()
    whole = jax.jit(jaxgd.train(jaxgd.gd(loss, lbfgs), 3))(start(lbfgs), some, KEY)
    parts = jax.jit(jaxgd.train(jaxgd.gd(loss, lbfgs, chunk=4), 3))(start(lbfgs), some, KEY)
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-4)


def test_the_shape_of_the_batch_is_not_the_shape_of_an_out():
    """But for an order of whole batches."""
    epoch = jaxgd.visit(lambda state, batch: (state, batch[1]), B)
    order = np.arange(N)
    with pytest.raises(TypeError, match="concatenate"):
        epoch((), data(), order)
    _, labels = epoch((), data(), jaxgd.whole(order, B))
    assert labels.shape == (N // B, B)
