"""What is told of one layer: each planted fault by its name, and nothing of what is honest."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from jaxgd.equivalence import Update
from jaxgd.equivalence.diagnosis.forms.attention import Attention
from jaxgd.equivalence.diagnosis.forms.form import Layer
from jaxgd.equivalence.diagnosis.forms.recognition import layer_cause, recognised
from jaxgd.equivalence.diagnosis.forward_causes import forward_cause
from jaxgd.interop.torch import capture
from tests.equivalence.layer_faults import FAULTS, Of, begun, given

EPS = 2.0**-52
BOTH = (torch.float32, torch.float64)


def recorded(layer, x, params):
    """The update of a model that is this one layer."""
    model = nn.Sequential(OrderedDict(layer=layer)).train(layer.training)
    with capture(model, names={"layer": "layer"}) as layers:
        model(x)
    return Update(params, {}, None, activations=layers)


def told(layer, changed, shape, dtype):
    """The cause, by the layer's own numbers."""
    layer = begun(layer, dtype)
    x = given(shape, dtype)
    named = {f"layer.{name}": p.detach().numpy() for name, p in layer.named_parameters()}
    buffers = {f"layer.{name}": b.numpy().copy() for name, b in layer.named_buffers()} or None
    other = changed(layer)
    expected = recorded(layer, x, named)._replace(buffers=buffers)
    actual = recorded(other, x, named)._replace(buffers=buffers)
    return forward_cause(actual, expected, "layer") or "unknown"


@pytest.mark.parametrize("dtype", BOTH, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_layer_is_named(fault, dtype):
    layer, changed, shape, cause = FAULTS[fault]
    assert cause in told(layer, changed, shape, dtype)


@pytest.mark.parametrize("fault", FAULTS)
def test_another_rounding_of_the_same_layer_is_not(fault):
    """The layer computed in float64, and rounded: as far from torch's float32 as any other."""
    layer, _, shape, _ = FAULTS[fault]

    def finer(layer):
        wide = copy.deepcopy(layer).double()

        def run(_, x):
            y = wide(x.double() if x.is_floating_point() else x)
            return y[0].float() if isinstance(y, tuple) else y.float()

        return Of(None, run)

    assert told(layer, finer, shape, torch.float32) == "unknown"


def test_attention_is_told_from_a_few_rows():
    """The scores of all rows, heads and places would take 8 · 64 · 64² numbers, 17 MB a form."""
    attention = nn.MultiheadAttention(64, 4, bias=False, batch_first=True).double()
    x = given((8, 64, 64), torch.float64)
    with torch.no_grad():
        expected, causal = (
            attention(x, x, x, attn_mask=mask, need_weights=False)[0].numpy()
            for mask in (None, nn.Transformer.generate_square_subsequent_mask(64).double())
        )
    params = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    reference = Layer(x.numpy(), params, expected)
    assert recognised(reference, EPS) == Attention(4, batch_first=True)
    rows = Attention(4, batch_first=True).some_rows(reference)
    assert rows.x.shape == (4, 64, 64)
    assert layer_cause(reference, reference._replace(output=causal), EPS) == "a causal mask"
    turned = Layer(*(a.swapaxes(0, 1) if a is not params else a for a in reference))
    assert recognised(turned, EPS) == Attention(4, batch_first=False)


def normalized(x, eps):
    """LayerNorm in float32, not torch's."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(eps))


@pytest.mark.parametrize(
    ("scale", "eps", "cause"),
    [
        (1.4, 1e-6, "the norm's eps is 1e-06, not 1e-05"),  # 9.5e-7, added to a variance of 2
        (10, 1e-3, "the norm's eps is 0.001"),  # torch's own is beside 100, whose digit is 7.6e-6
        (10, 5e-5, "the norm's eps is another"),  # and not "eps is outside the root"
        (10, 1e-6, None),
    ],
)
def test_an_eps_is_told_no_finer_than_rounding_lets_it_be_seen(scale, eps, cause):
    for seed in range(4):
        x = (scale * np.random.default_rng(seed).normal(size=(64, 16))).astype(np.float32)
        reference = nn.functional.layer_norm(torch.tensor(x), (16,)).numpy()
        expected, ours = (
            Layer(x.astype(np.float64), {}, y.astype(np.float64))
            for y in (reference, normalized(x, eps))
        )
        assert layer_cause(expected, ours, 2.0**-23) == cause
