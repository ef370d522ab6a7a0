"""Layers of torch beside what ports make of them: one fault each, and the words that tell it."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Of(nn.Module):
    """A layer's parameters, and another function of them."""

    def __init__(self, layer, function):
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, x):
        return self.function(self.layer, x)


def other(layer, **attributes):
    """The same layer with other attributes."""
    changed = copy.deepcopy(layer)
    for name, value in attributes.items():
        setattr(changed, name, value)
    return changed


def of(function):
    return lambda layer: Of(layer, function)


def unbiased_batch_norm(layer, x):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=True)
    y = (x - mean) / torch.sqrt(var + layer.eps)
    return y * layer.weight[:, None, None] + layer.bias[:, None, None]


def eps_outside(layer, x):
    centred = x - x.mean(-1, keepdim=True)
    root = torch.sqrt((centred**2).mean(-1, keepdim=True)) + layer.eps
    return centred / root * layer.weight + layer.bias


def rms_norm(layer, x):
    return F.rms_norm(x, (x.shape[-1],), layer.weight, layer.eps) + layer.bias


def cut(bits):
    """Factors rounded to so many significant bits, the product in full precision."""

    def rounded(a):
        mantissa, exponent = torch.frexp(a)
        return torch.ldexp(torch.round(mantissa * 2**bits) / 2**bits, exponent)

    return of(lambda layer, x: F.linear(rounded(x), rounded(layer.weight), layer.bias))


def gates(order):
    """The recurrent layer with its gates stacked in another order."""

    def changed(layer):
        layer = copy.deepcopy(layer)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.cat([p.chunk(len(order))[i] for i in order]))
        return layer

    return changed


def gru(reset_before=False, swapped=False):
    def run(layer, x):
        h, states = torch.zeros(len(x), layer.hidden_size, dtype=x.dtype), []
        for row in x.unbind(1):
            (ir, iz, i_new), (hr, hz, hn) = (
                F.linear(a, w, b).chunk(3, -1)
                for a, w, b in (
                    (row, layer.weight_ih_l0, layer.bias_ih_l0),
                    (h, layer.weight_hh_l0, layer.bias_hh_l0),
                )
            )
            r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
            w, b = layer.weight_hh_l0.chunk(3)[2], layer.bias_hh_l0.chunk(3)[2]
            reset = F.linear(r * h, w, b) if reset_before else r * hn
            new = torch.tanh(i_new + reset)
            h = z * new + (1 - z) * h if swapped else (1 - z) * new + z * h
            states.append(h)
        return torch.stack(states, 1), h[None]

    return of(run)


def masked(scale):
    """Dropout by one fixed mask, so that both sides drop the same."""

    def run(_, x):
        keep = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.25
        return torch.where(keep, x * scale, torch.zeros_like(x))

    return run


def same_padding(layer, x):
    """JAX's and TensorFlow's: one number more behind, where torch has one in front, too."""
    return F.conv2d(F.pad(x, (0, 1, 0, 1)), layer.weight, layer.bias, stride=2)


def zero_row(layer, x):
    weight = layer.weight.clone()
    weight[0] = 0
    return F.embedding(x, weight)


def conv(**options):
    return nn.Conv2d(3, 6, 3, **{"padding": 1, **options})


ROWS, IMAGES, SEQUENCES, TOKENS = (14, 16), (5, 3, 8, 8), (6, 7, 8), None
SILENT = nn.Identity

FAULTS = {
    # activation functions
    "GELU by tanh": (nn.GELU(), lambda _: nn.GELU("tanh"), ROWS, "GELU by tanh, not exact GELU"),
    "exact GELU": (nn.GELU("tanh"), lambda _: nn.GELU(), ROWS, "exact GELU, not GELU by tanh"),
    "slope": (nn.LeakyReLU(0.1), lambda _: nn.LeakyReLU(), ROWS, "slope is 0.01, not 0.1"),
    "leaky": (nn.ReLU(), lambda _: nn.LeakyReLU(0.2), ROWS, "LeakyReLU of slope 0.2, not ReLU"),
    "SiLU": (nn.GELU(), lambda _: nn.SiLU(), ROWS, "SiLU, not exact GELU"),
    "forgotten": (nn.Tanh(), lambda _: nn.Identity(), ROWS, "the identity, not tanh"),
    "dropout": (Of(None, masked(4 / 3)), lambda _: Of(None, masked(1.0)), ROWS, "dropout scales"),
    # norms
    "eps": (nn.LayerNorm(16), lambda m: other(m, eps=1e-6), ROWS, "eps is 1e-06, not 1e-05"),
    "eps of groups": (nn.GroupNorm(2, 16), lambda m: other(m, eps=1e-3), ROWS, "eps is 0.001"),
    "eps outside": (nn.LayerNorm(16, eps=1e-2), of(eps_outside), ROWS, "eps is outside the root"),
    "no mean": (nn.LayerNorm(16), of(rms_norm), ROWS, "the norm takes no mean away"),
    "unbiased": (nn.BatchNorm2d(3), of(unbiased_batch_norm), IMAGES, "variance is unbiased"),
    "running": (nn.BatchNorm2d(3), lambda m: copy.deepcopy(m).eval(), IMAGES, "running statistics"),
    "groups": (nn.GroupNorm(2, 16), lambda m: other(m, num_groups=4), ROWS, "over 4 groups"),
    "no norm bias": (nn.LayerNorm(16), lambda m: other(m, bias=None), ROWS, "bias is missing"),
    # products
    "no bias": (nn.Linear(16, 5), lambda m: other(m, bias=None), ROWS, "the bias is missing"),
    "transposed": (nn.Linear(16, 16), of(lambda m, x: x @ m.weight + m.bias), ROWS, "transposed"),
    "bfloat16": (nn.Linear(16, 5), cut(8), ROWS, "factors are rounded to bfloat16"),
    "TF32": (nn.Linear(16, 5), cut(11), ROWS, "factors are rounded to TensorFloat-32"),
    "output in bfloat16": (
        nn.Linear(16, 5), of(lambda m, x: m(x).bfloat16().to(x.dtype)), ROWS,
        "the output is rounded to bfloat16",
    ),
    "factor": (nn.Linear(16, 5), of(lambda m, x: 1.25 * m(x)), ROWS, "1.25 times as large"),
    "padding_idx": (nn.Embedding(9, 6), of(zero_row), TOKENS, "row 0 is padding (padding_idx)"),
    "root of width": (
        nn.Embedding(9, 6), of(lambda m, x: 6**0.5 * m(x)), TOKENS, "times the root of its width",
    ),
    "bag": (nn.EmbeddingBag(9, 6), lambda m: other(m, mode="max"), TOKENS, "the largest of a bag"),
    # convolutions and pooling
    "conv bias": (conv(), lambda m: other(m, bias=None), IMAGES, "the bias is missing"),
    "circular": (
        conv(), of(lambda m, x: F.conv2d(F.pad(x, (1,) * 4, "circular"), m.weight, m.bias)), IMAGES,
        "the padding is circular",
    ),
    "reflected": (
        conv(), of(lambda m, x: F.conv2d(F.pad(x, (1,) * 4, "reflect"), m.weight, m.bias)), IMAGES,
        "the padding is reflected",
    ),
    "SAME": (conv(stride=2), of(same_padding), IMAGES, "padded by 0 and 1, not by 1 and 0"),
    "no padding": (conv(), lambda m: other(m, padding=(0, 0)), IMAGES, "padded by 0, not by 1"),
    "flipped": (
        conv(), of(lambda m, x: F.conv2d(x, m.weight.flip(2, 3), m.bias, padding=1)), IMAGES,
        "the kernel is flipped",
    ),
    "rows and columns": (
        conv(), of(lambda m, x: F.conv2d(x, m.weight.mT, m.bias, padding=1)), IMAGES,
        "the kernel's rows and columns are exchanged",
    ),
    "count": (
        nn.AvgPool2d(3, 2, 1), lambda _: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGES,
        "the pool's mean leaves out the padding (count_include_pad)",
    ),
    "mean for largest": (nn.MaxPool2d(2), lambda _: nn.AvgPool2d(2), IMAGES, "the windows' mean"),
    "window": (
        nn.MaxPool2d(2), lambda _: nn.MaxPool2d(3, 2, 1), IMAGES, "unknown",
    ),
    # recurrent layers and attention
    "LSTM's gates": (
        nn.LSTM(8, 5, batch_first=True), gates((0, 2, 1, 3)), SEQUENCES, "the order i, g, f, o",
    ),
    "GRU's gates": (
        nn.GRU(8, 5, batch_first=True), gates((1, 0, 2)), SEQUENCES, "the order z, r, n",
    ),
    "reset before": (
        nn.GRU(8, 5, batch_first=True), gru(reset_before=True), SEQUENCES,
        "the reset gate multiplies before the product",
    ),
    "update the other way": (
        nn.GRU(8, 5, batch_first=True), gru(swapped=True), SEQUENCES, "takes the new state",
    ),
    # two at once, or none that is known
    "two at once": (
        nn.LayerNorm(16), lambda m: other(m, eps=1e-3, bias=None), ROWS, "unknown",
    ),
    "an unknown function": (
        nn.GELU(), of(lambda _, x: x * torch.sigmoid(1.6 * x)), ROWS, "unknown",
    ),
    "a cubic term": (nn.Linear(16, 5), of(lambda m, x: m(x + 0.01 * x**3)), ROWS, "unknown"),
}  # fmt: skip


def given(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if shape is None:
        return torch.tensor(rng.integers(0, 9, (6, 4)))
    return torch.tensor(rng.normal(size=shape)).to(dtype)


def begun(layer, dtype):
    """The layer in that precision, with no parameter at 0 or 1, where nothing would tell."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return layer
