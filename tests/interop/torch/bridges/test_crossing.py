"""The bridge over whole models: names, ties, gradients, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen
from torch import nn

from jaxgd.interop.torch import bridge, params_from_torch


class Model(nn.Module):
    """A tied head, a parameter and a buffer of its own, lists in lists."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.position = nn.Parameter(torch.rand(3, 4))
        self.register_buffer("scale", torch.rand(1))
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 4))]
        )
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.words.weight


PATHS = {
    "nnx": ["blocks.0.layers.0.kernel", "blocks.0.layers.2.bias", "words.embedding"],
    "linen": ["blocks_0.layers_0.kernel", "blocks_0.layers_2.bias", "words.embedding"],
    "equinox": ["blocks.0.layers.0.weight", "blocks.0.layers.2.bias", "words.weight"],
    "pytree": ["blocks.0.0.w", "blocks.0.1.b", "words.weight"],
}


def paths(tree):
    flat = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def assert_same(actual, expected):
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


@pytest.mark.parametrize("to", PATHS)
def test_names_ties_and_buffers(to):
    module = Model()
    crossing = bridge(module, to)
    found = paths(crossing.params)
    assert set(PATHS[to]) <= found.keys()
    assert "head.bias" in found or "head.b" in found
    assert not {"head.kernel", "head.weight", "head.w"} & found.keys()
    np.testing.assert_array_equal(found["position"], module.position.detach())
    np.testing.assert_array_equal(crossing.buffers["scale"], module.scale)
    state = crossing.state_dict(crossing.params, crossing.buffers)
    assert_same({name: state[name] for name in module.state_dict()}, module.state_dict())
    moved = jax.tree.map(lambda leaf: leaf + 1, crossing.params)
    module.load_state_dict(crossing.state_dict(moved))
    assert module.head.weight is module.words.weight
    np.testing.assert_array_equal(module.position.detach(), np.asarray(moved["position"]))


def test_a_pytree_is_what_params_from_torch_gives():
    module = Model()
    ours, theirs = bridge(module, "pytree").params, params_from_torch(module)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_names_of_the_users_own():
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    names = {"0": "Dense_0", "2": "Dense_1"}
    crossing = bridge(module, "linen", names)
    assert crossing.params.keys() == {"Dense_0", "Dense_1"}
    haiku = bridge(module, "haiku", {"0": "mlp/~/linear_0", "2": "mlp/~/linear_1"})
    assert haiku.params.keys() == {"mlp/~/linear_0", "mlp/~/linear_1"}
    assert_same(haiku.state_dict(haiku.params), module.state_dict())
    with pytest.raises(ValueError, match=r"names gives paths to torch's names .* got \['1x'\]"):
        bridge(module, "linen", {"1x": "Dense_0"})
    with pytest.raises(ValueError, match=r"a path of its own; got 'same\.kernel' twice"):
        bridge(module, "linen", {"0": "same", "2": "same"})


def test_a_gradient_crosses_both_ways():
    """Of a sum of two biases, each has the sum's; through `of`, JAX finds the same."""
    module = nn.LSTM(3, 2)
    crossing = bridge(module, "linen")
    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), crossing.params
    )

    def loss(params):
        products = jax.tree.map(lambda w, leaf: jnp.sum(w * leaf), weights, params)
        return sum(jax.tree.leaves(products))

    by_hand = crossing.named_gradient(jax.grad(loss)(crossing.params))
    named = {name: jnp.asarray(crossing.state[name]) for name in crossing.parameter_names}
    traced = jax.jit(jax.grad(lambda state: loss(crossing.of(state).params)))(named)
    assert by_hand.keys() == traced.keys() == dict(module.named_parameters()).keys()
    for name, value in traced.items():
        np.testing.assert_array_equal(by_hand[name], value)
    np.testing.assert_array_equal(by_hand["bias_ih_l0"], by_hand["bias_hh_l0"])


def test_a_bias_that_is_a_sum_moves_both_of_torchs():
    module = nn.LSTM(3, 2)
    crossing = bridge(module, "haiku", {"": "lstm"})
    moved = jax.tree.map(lambda leaf: leaf + 0.5, crossing.params)
    back = crossing.named(moved)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        np.testing.assert_allclose(back[name] - crossing.state[name], 0.25, rtol=1e-6)


def test_several_recurrent_layers_are_a_list():
    crossing = bridge(nn.LSTM(3, 2, num_layers=2), "equinox", {"0": "first", "1": "second"})
    assert crossing.params.keys() == {"first", "second"}
    assert crossing.params["second"]["weight_ih"].shape == (8, 2)


def test_a_recurrent_layer_below_a_name_stands_in_its_cell():
    module = nn.Sequential(nn.Sequential(nn.LSTM(3, 2)))
    paths = {
        None: ("layers_0", "layers_0", "cell"),
        "0": ("encoder", "layers_0", "cell"),
        "0.0": ("encoder",),
    }
    for name, path in paths.items():
        assert bridge(module, "linen", name and {name: "encoder"}).placed[0].path == path
    assert bridge(module, "haiku", {"0": "encoder"}).placed[0].path == ("encoder", "layers_0")


def test_the_row_of_padding_is_carried_and_trained():
    """padding_idx does not cross: torch gives that row no gradient, another framework does."""
    module = nn.Embedding(5, 3, padding_idx=1)
    with torch.no_grad():
        module.weight[1] = 2.0
    crossing = bridge(module, "linen")
    words = np.array([0, 1, 1])
    module(torch.tensor(words)).sum().backward()
    given = jax.grad(
        lambda p: linen.Embed(5, 3, dtype=jnp.float32).apply({"params": p}, words).sum()
    )(crossing.params)
    np.testing.assert_array_equal(crossing.params["embedding"][1], [2, 2, 2])
    gradient = crossing.named_gradient(given)["weight"]
    np.testing.assert_array_equal(np.asarray(gradient)[:, 0], [1, 2, 0, 0, 0])
    np.testing.assert_array_equal(module.weight.grad[:, 0], [1, 0, 0, 0, 0])


class Derived(nn.Linear):
    pass


REFUSED = {
    "Bilinear": (nn.Bilinear(2, 2, 2), "got Bilinear at 'the top'"),
    "derived": (nn.Sequential(Derived(2, 2)), r"got Derived \(derived from Linear\) at '0'"),
    "grouped": (nn.ConvTranspose2d(4, 4, 3, groups=2), "got groups=2"),
    "bidirectional": (nn.GRU(2, 2, bidirectional=True), "got bidirectional=True"),
    "projected": (nn.LSTM(2, 3, proj_size=1), "got proj_size"),
    "no bias": (nn.LSTM(2, 3, bias=False), "always has a bias, this layer has none"),
    "two axes": (nn.LayerNorm((2, 3)), "got normalized_shape"),
    "extra keys": (nn.MultiheadAttention(4, 2, add_bias_kv=True), "got add_bias_kv"),
    "changed": (torch.nn.utils.weight_norm, "got weight_g, weight_v"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_by_name(name):
    module, message = REFUSED[name]
    module = module if isinstance(module, nn.Module) else module(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=message):
        bridge(module, "linen")


def test_other_refusals():
    module = nn.Linear(2, 3)
    crossing = bridge(module, "linen")
    with pytest.raises(ValueError, match="to must be one of nnx, linen"):
        bridge(module, "keras")
    with pytest.raises(
        TypeError, match=r"must be a torch\.nn\.Module that nothing wraps; got a Ord"
    ):
        bridge(module.state_dict(), "linen")
    with pytest.raises(ValueError, match="need JAX's 64-bit mode; got 'kernel' without"):
        bridge(nn.Linear(2, 3).double(), "linen")
    with pytest.raises(
        ValueError, match=r"the shape that the bridge gives, \[2, 3\]; got \[3, 2\]"
    ):
        crossing.into({"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(3)})
    with pytest.raises(
        ValueError, match="have a place in the tree, or none has; got none for bias"
    ):
        crossing.into({"kernel": jnp.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"Every floating array .* got scale"):
        crossing.into({**crossing.params, "scale": jnp.zeros(3)})
    with pytest.raises(ValueError, match="must have the leaves that the bridge gives"):
        crossing.named({"kernel": crossing.params["kernel"]})
    with pytest.raises(ValueError, match=r"must have the module's names; got \['w'\]"):
        crossing.of({"w": jnp.zeros(3)})
