"""The layers of one network as each framework tells them: torch's hooks are the oracle."""

from collections import OrderedDict

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

from jaxgd.interop import torch as from_torch
from jaxgd.interop.activations import (
    capture,
    channels_second,
    equinox_layers,
    haiku_layers,
    linen_layers,
    nnx_layers,
    over_rows,
    tap,
    value_and_gradients,
)

pytestmark = pytest.mark.optax_promotion
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))


@pytest.fixture(scope="module")
def oracle(model):
    with from_torch.capture(model) as layers:
        (model(torch.tensor(X)) ** 2).mean().backward()
    return layers


def arrays(model):
    """(w [in, out], b) of both dense layers."""
    return [(model[i].weight.detach().numpy().T, model[i].bias.detach().numpy()) for i in (0, 2)]


def mean_square(y):
    return (y**2).mean()


def plain(weights):
    def objective(params, x):
        (w0, b0), (w2, b2) = params
        h = jnp.tanh(tap("a", x @ w0 + b0[None], x))
        return mean_square(tap("b", h @ w2 + b2[None], h))

    return objective, weights, {"a": "0", "b": "2"}


class InLinen(linen.Module):
    @linen.compact
    def __call__(self, x):
        hidden = linen.Dense(5)(x)
        return linen.Dense(3)(jnp.tanh(hidden))


def in_linen(weights):
    apply = linen_layers(InLinen().apply)
    params = {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(weights)}
    objective = lambda p, x: mean_square(apply({"params": p}, x))  # noqa: E731
    return objective, params, {"Dense_0": "0", "Dense_1": "2"}


class InNNX(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])

    def __call__(self, x):
        return self.layers[1](jnp.tanh(self.layers[0](x)))


def in_nnx(weights):
    network = InNNX()
    for layer, (w, b) in zip(network.layers, weights, strict=True):
        layer.kernel[...], layer.bias[...] = w, b
    graph, params = nnx.split(network)

    def objective(params, x):
        with nnx_layers(nnx.merge(graph, params)) as network:
            return mean_square(network(x))

    return objective, params, {"layers.0": "0", "layers.1": "2"}


def in_equinox(weights):
    network = eqx.nn.MLP(4, 3, 5, 1, activation=jnp.tanh, key=jax.random.key(0))
    for i, (w, b) in enumerate(weights):
        network = eqx.tree_at(
            lambda m, i=i: (m.layers[i].weight, m.layers[i].bias), network, (w.T, b)
        )
    params, rest = eqx.partition(network, eqx.is_array)

    def objective(params, x):
        return mean_square(over_rows(equinox_layers(eqx.combine(params, rest)))(x))

    return objective, params, {"layers.0": "0", "layers.1": "2"}


def in_haiku(weights):
    def forward(x):
        hidden = hk.Linear(5)(x)
        return hk.Linear(3)(jnp.tanh(hidden))

    apply = hk.without_apply_rng(hk.transform(haiku_layers(forward))).apply
    params = {
        name: {"w": w, "b": b} for name, (w, b) in zip(("linear", "linear_1"), weights, strict=True)
    }
    objective = lambda p, x: mean_square(apply(p, x))  # noqa: E731
    return objective, params, {"linear": "0", "linear_1": "2"}


FRAMEWORKS = {
    "plain": plain,
    "linen": in_linen,
    "nnx": in_nnx,
    "equinox": in_equinox,
    "haiku": in_haiku,
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_outputs_inputs_and_gradients_are_torchs(framework, model, oracle):
    objective, params, names = FRAMEWORKS[framework](arrays(model))
    compute = jax.jit(value_and_gradients(objective, names=names))
    value, gradient, layers = compute(params, X)
    plain_value, plain_gradient = jax.value_and_grad(objective)(params, X)
    np.testing.assert_allclose(value, plain_value, rtol=1e-6)
    for ours, theirs in zip(*map(jax.tree.leaves, (gradient, plain_gradient)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert list(layers) == ["0", "2"]
    for name, layer in layers.items():
        torchs = oracle[name]
        for ours, theirs in (
            (layer["output"], torchs["output"]),
            (layer["inputs"][0], torchs["inputs"][0]),
            (layer["gradient"], torchs["gradient"]),
        ):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_the_order_is_the_forward_one_and_a_layer_that_runs_again_is_numbered():
    def twice(x):
        for name in ("z", "a", "z"):
            x = tap(name, x + 1, x)
        return x

    result, layers = jax.jit(capture(twice))(jnp.zeros(2))
    assert list(layers) == ["z", "a", "z#2"]
    np.testing.assert_array_equal(layers["z#2"]["inputs"][0], [2, 2])
    np.testing.assert_array_equal(result, [3, 3])
    assert twice(jnp.zeros(2)).tolist() == [3, 3]  # without a capture a tap does nothing
    relu = torch.nn.ReLU()
    with from_torch.capture(torch.nn.Sequential(OrderedDict(a=relu, b=relu))) as layers:
        layers.clear()
    again = torch.nn.Module()
    again.relu, again.forward = relu, lambda x: again.relu(again.relu(x) - 1)
    with from_torch.capture(again) as layers:
        again(torch.tensor([1.5, 0.5]))
    assert list(layers) == ["relu", "relu#2"]


def test_what_torch_changes_in_place_is_recorded_as_it_was():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(inplace=True))
    with from_torch.capture(model) as layers:
        model(torch.randn(8, 3))
    assert (layers["0"]["output"] < 0).any()
    torch.testing.assert_close(layers["1"]["inputs"][0], layers["0"]["output"])
    assert not [h for m in model for h in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_flags_and_keys_are_no_inputs_and_whole_numbers_have_no_gradient():
    def objective(scale, x):
        chosen = tap("rows", jnp.arange(3), jax.random.key(0), True, x)
        return (scale * tap("taken", x[chosen])).sum()

    _, _, layers = jax.jit(value_and_gradients(objective))(2.0, jnp.ones(4))
    assert len(layers["rows"]["inputs"]) == 1
    assert layers["rows"]["gradient"] is None
    np.testing.assert_array_equal(layers["taken"]["gradient"], [2, 2, 2])


def test_channels_are_turned_as_torch_has_them():
    _, layers = capture(lambda x: tap("conv", x, x))(jnp.zeros((2, 5, 6, 3)))
    turned = channels_second(layers, "conv")
    assert turned["conv"]["output"].shape == turned["conv"]["inputs"][0].shape == (2, 3, 5, 6)
    assert channels_second(layers, "other")["conv"]["output"].shape == (2, 5, 6, 3)


@pytest.mark.parametrize("rows", [3, 5])
def test_rows_that_are_mapped_again_are_counted_on(rows):
    """Names and gradients are those of the same function without rows, whatever the batches."""

    def net(p, x):
        return tap("d", jnp.tanh(tap("d", x @ p, x)) @ p)

    def objective(net):
        return lambda p, a, b: (2 * net(p, a)).sum() + (5 * net(p, b)).sum()

    given = jnp.ones((2, 2)), jnp.asarray(X[:3, :2]), jnp.asarray(X[1 : 1 + rows, 2:])
    expected = jax.jit(value_and_gradients(objective(net)))(*given)
    actual = jax.jit(value_and_gradients(objective(over_rows(net, (None, 0)))))(*given)
    assert list(actual[2]) == ["d", "d#2", "d#3", "d#4"]
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for ours, theirs in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def subclassed_in_torch(x):
    class Dense(torch.nn.Linear):
        def forward(self, x):
            return torch.relu(super().forward(x))

    model = torch.nn.Sequential(OrderedDict(a=Dense(2, 2), b=torch.nn.Linear(2, 2)))
    with from_torch.capture(model) as layers:
        model(torch.tensor(x))
    return {name: layer["output"].numpy() for name, layer in layers.items()}


def subclassed_in_nnx(x):
    class Dense(nnx.Linear):
        def __call__(self, x):
            return jnp.maximum(super().__call__(x), 0)

    class Model(nnx.Module):
        def __init__(self):
            self.a, self.b = (kind(2, 2, rngs=nnx.Rngs(0)) for kind in (Dense, nnx.Linear))

        def __call__(self, x):
            return self.b(self.a(x))

    with nnx_layers(Model()) as model:
        return capture(model)(x)


def subclassed_in_linen(x):
    class Dense(linen.Dense):
        @linen.compact
        def __call__(self, x):
            return jnp.maximum(super().__call__(x), 0)

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2, name="b")(Dense(2, name="a")(x))

    model = Model()
    return capture(linen_layers(model.apply))(model.init(jax.random.key(0), x), x)


def subclassed_in_haiku(x):
    class Dense(hk.Linear):
        def __call__(self, x):
            return jnp.maximum(super().__call__(x), 0)

    model = hk.without_apply_rng(
        hk.transform(haiku_layers(lambda x: hk.Linear(2, name="b")(Dense(2, name="a")(x))))
    )
    return capture(model.apply)(model.init(jax.random.key(0), x), x)


@pytest.mark.parametrize("run", [subclassed_in_nnx, subclassed_in_linen, subclassed_in_haiku])
def test_a_layer_that_calls_its_base_class_is_one_as_in_torch(run):
    x = np.concatenate([X[:, :2], -X[:, :2]])
    result, layers = run(x)
    torchs = subclassed_in_torch(x)
    assert list(layers) == list(torchs) == ["a", "b"]
    assert np.min(layers["a"]["output"]) == np.min(torchs["a"]) == 0
    np.testing.assert_array_equal(layers["b"]["inputs"][0], layers["a"]["output"])
    np.testing.assert_array_equal(layers["b"]["output"], result)


def test_a_stateful_layer_of_equinox_is_given_its_state_and_told_without():
    def model():
        first = eqx.nn.Linear(4, 5, key=jax.random.key(0))
        return eqx.nn.Sequential(
            [first, eqx.nn.Sequential([eqx.nn.BatchNorm(5, "rows", mode="batch")])]
        )

    network, state = eqx.nn.make_with_state(model)()
    axes = {"in_axes": (0, None), "out_axes": (0, None), "axis_name": "rows"}

    def objective(layer, x):
        changed = eqx.tree_at(lambda m: m.layers[0], network, layer)
        y, after = over_rows(equinox_layers(changed), **axes)(x, state)
        return ((y - x[:, :1]) ** 2).mean(), (y, after)

    dense = network.layers[0]
    expected = jax.jit(lambda x: jax.vmap(equinox_layers(network), **axes)(x, state))(X)
    (_, actual), _, layers = jax.jit(value_and_gradients(objective, has_aux=True))(dense, X)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5, atol=1e-6)

    torchs = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Sequential(torch.nn.BatchNorm1d(5))
    )
    weight, bias = (torch.tensor(np.array(leaf)) for leaf in (dense.weight, dense.bias))
    torchs[0].load_state_dict({"weight": weight, "bias": bias})
    with from_torch.capture(torchs) as told:
        ((torchs(torch.tensor(X)) - torch.tensor(X[:, :1])) ** 2).mean().backward()
    assert list(layers) == ["layers.0", "layers.1.layers.0", "layers.1"]
    for ours, theirs in zip(layers.values(), told.values(), strict=True):
        assert len(ours["inputs"]) == 1
        for part in ("output", "gradient"):
            np.testing.assert_allclose(ours[part], theirs[part], rtol=1e-4, atol=1e-6)


def test_attention_of_equinox_is_one_layer_as_in_torch():
    class Block(eqx.Module):
        attention: eqx.nn.MultiheadAttention

        def __call__(self, x):
            return self.attention(x, x, x)

    block, x = Block(eqx.nn.MultiheadAttention(2, 4, key=jax.random.key(0))), X.reshape(2, 3, 4)
    y, layers = jax.jit(capture(over_rows(equinox_layers(block))))(x)
    torchs = torch.nn.ModuleDict({"attention": torch.nn.MultiheadAttention(4, 2, batch_first=True)})
    with from_torch.capture(torchs) as told:
        torchs["attention"](*[torch.tensor(x)] * 3)
    assert list(layers) == list(told) == ["attention"]
    np.testing.assert_array_equal(layers["attention"]["output"], y)
    np.testing.assert_allclose(y, jax.jit(jax.vmap(block))(x), rtol=1e-5, atol=1e-6)
    assert equinox_layers(block.attention) is block.attention


@pytest.mark.parametrize(("scan", "told"), [(False, "012"), (True, "02")])
def test_an_mlp_of_equinox_has_no_tap_in_what_it_maps_itself(scan, told):
    activations = {"activation": eqx.nn.PReLU(), "final_activation": eqx.nn.PReLU()}
    network = eqx.nn.MLP(4, 3, 5, 2, scan=scan, key=jax.random.key(0), **activations)
    y, layers = jax.jit(capture(over_rows(equinox_layers(network))))(X)
    assert list(layers) == [f"layers.{i}" for i in told]
    last = layers["layers.2"]["output"]
    np.testing.assert_array_equal(y, np.where(last < 0, 0.25 * last, last))
