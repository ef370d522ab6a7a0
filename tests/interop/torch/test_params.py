"""Parameters between torch modules and pytrees: the same model on both sides, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxgd.interop.torch import params_from_torch, params_to_torch
from jaxgd.models import Linear, init_linear, init_mlp, linear, mlp
from tests import tolerances


def network(dtype=torch.float32):
    """Square, so that a weight not turned has the same shape."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)
    return torch.nn.Sequential(*layers).to(dtype)


def assert_same_state(actual, expected):
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
        assert actual[name].dtype == tensor.dtype, name


def test_a_sequential_is_an_mlp(dtype):
    module = network(getattr(torch, dtype.name))
    params = params_from_torch(module)
    like = init_mlp(jax.random.key(0), (3, 3, 1), dtype=dtype)
    assert jax.tree.structure(params) == jax.tree.structure(like)
    x = np.random.default_rng(0).normal(size=3).astype(dtype)
    expected = module(torch.tensor(x)).detach().numpy()
    error = np.max(np.abs(mlp(params, jnp.asarray(x)) - expected))
    assert error <= (tolerances.LOSS[dtype.name])
    wrong = (params[0]._replace(w=params[0].w.T), params[1])
    assert np.max(np.abs(mlp(wrong, jnp.asarray(x)) - expected)) > 1e-3


def test_back_to_a_module(dtype):
    module, other = network(getattr(torch, dtype.name)), network(getattr(torch, dtype.name))
    params = params_from_torch(module)
    with torch.no_grad():
        other[0].weight.add_(1.0)
    other.load_state_dict(params_to_torch(params, other))
    assert_same_state(other.state_dict(), module.state_dict())
    assert_same_state(params_to_torch(params, module.state_dict()), module.state_dict())


def test_a_linear_layer_with_one_output_squeezed():
    module = torch.nn.Linear(4, 1)
    params = params_from_torch(module, squeeze=True)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, init_linear(4))
    x = np.arange(4.0, dtype=np.float32)
    np.testing.assert_allclose(
        linear(params, jnp.asarray(x)), module(torch.tensor(x)).detach()[0].item(), rtol=1e-6
    )
    assert_same_state(params_to_torch(params, module), module.state_dict())


class Nested(torch.nn.Module):
    """Attributes, a list with gaps, buffers, a layer without bias, a shared parameter."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(5, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        self.blocks = torch.nn.ModuleList([network(), torch.nn.ReLU(), torch.nn.Linear(2, 2)])
        self.head = torch.nn.Linear(2, 5, bias=False)
        self.head.weight = self.words.weight


def test_names_nest():
    module = Nested()
    params = params_from_torch(module)
    assert set(params) == {"words", "norm", "blocks"}
    assert params["words"]["weight"].shape == (5, 2)
    assert isinstance(params["blocks"], tuple)
    assert [isinstance(block, Linear) for block in params["blocks"]] == [False, True]
    assert set(params["norm"]) == {"weight", "bias"}
    assert_same_state(params_to_torch(params, module), module.state_dict())


def test_a_shared_parameter_is_one():
    module = Nested()
    params = jax.tree.map(lambda leaf: leaf + 1, params_from_torch(module))
    module.load_state_dict(params_to_torch(params, module))
    assert module.head.weight is module.words.weight
    np.testing.assert_array_equal(module.head.weight.detach(), params["words"]["weight"])


def test_a_linear_layer_without_bias_is_turned_like_its_neighbours(dtype):
    """Square, so that a weight not turned has the same shape."""
    layers = torch.nn.Linear(3, 3, bias=False), torch.nn.Tanh(), torch.nn.Linear(3, 3)
    module = torch.nn.Sequential(*layers).to(getattr(torch, dtype.name))
    params = params_from_torch(module)
    assert params[0].b is None
    x = np.random.default_rng(0).normal(size=3).astype(dtype)
    expected = module(torch.tensor(x)).detach().numpy()
    error = np.max(np.abs(mlp(params, jnp.asarray(x)) - expected))
    assert error <= tolerances.LOSS[dtype.name]
    assert_same_state(params_to_torch(params, module), module.state_dict())
    one = torch.nn.Linear(3, 1, bias=False)
    squeezed = params_from_torch(one, squeeze=True)
    assert squeezed.w.shape == (3,)
    assert_same_state(params_to_torch(squeezed, one), one.state_dict())


def test_a_module_of_ones_own_is_not_turned():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(2, 2))
            self.bias = torch.nn.Parameter(torch.rand(2))

    module = torch.nn.Sequential(Own(), torch.nn.Linear(2, 2))
    params = params_from_torch(module)
    np.testing.assert_array_equal(params[0]["weight"], module[0].weight.detach())
    assert isinstance(params[1], Linear)
    assert_same_state(params_to_torch(params, module), module.state_dict())


def test_a_shared_parameter_is_one_in_a_state_dict_too():
    module = Nested()
    state = dict(module.named_parameters(remove_duplicate=False))
    params = jax.tree.map(lambda leaf: leaf + 1, params_from_torch(state))
    assert set(params) == {"words", "norm", "blocks"}
    back = params_to_torch(params, state)
    assert list(back) == list(state)
    assert torch.equal(back["head.weight"], back["words.weight"])
    assert torch.equal(back["head.weight"], module.head.weight + 1)
    copies = {name: value.detach().numpy().copy() for name, value in state.items()}
    assert "head" in params_from_torch(copies)  # NumPy's copies do not tell


def test_torchs_layout_when_asked():
    module = network()
    params = params_from_torch(module, linear=False)
    np.testing.assert_array_equal(params[0]["weight"], module[0].weight.detach())
    assert_same_state(params_to_torch(params, module), module.state_dict())


def test_bfloat16():
    module = network(torch.bfloat16)
    params = params_from_torch(module)
    assert params[0].w.dtype == jnp.bfloat16
    assert_same_state(params_to_torch(params, module), module.state_dict())


def test_more_than_ten_layers_keep_their_order():
    module = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(12)])
    params = params_from_torch(module)
    np.testing.assert_array_equal(params[10].b, module[10].bias.detach())
    assert_same_state(params_to_torch(params, module), module.state_dict())


def test_the_arrays_are_copies():
    module = network()
    params = params_from_torch(module)
    before = np.array(params[0].b)
    with torch.no_grad():
        module[0].bias.add_(1.0)
    np.testing.assert_array_equal(params[0].b, before)


def test_refusals():
    params = params_from_torch(network())
    with pytest.raises(ValueError, match="need JAX's 64-bit mode"):
        params_from_torch(network(torch.float64))
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module"):
        params_from_torch(torch.optim.SGD([torch.zeros(1)]))
    with pytest.raises(TypeError, match="must be real and floating; got int64"):
        params_from_torch(Nested().state_dict())
    with pytest.raises(ValueError, match="params must have torch's names"):
        params_to_torch(params, torch.nn.Linear(3, 3))
    with pytest.raises(TypeError, match=r"the module.s dtype; got torch\.float32"):
        params_to_torch(params, network(torch.float64))
    wide = (Linear(jnp.zeros((3, 4)), jnp.zeros(4)), params[1])
    with pytest.raises(ValueError, match=r"must have the module's shapes; got \[3, 4\]"):
        params_to_torch(wide, network())
