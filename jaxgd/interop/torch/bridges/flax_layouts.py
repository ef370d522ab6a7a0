"""Flax's layouts of torch's layers, those of Linen and of NNX.

Departs from torch, and is for the port to set: the channels come last in what a convolution takes;
LayerNorm's, GroupNorm's eps are 1e-6 by default, not 1e-5; BatchNorm's momentum is 1 - torch's, and
its running variance the biased one; a transposed convolution pads by kernel - 1 - padding.
NNX's attention takes its softmax in float32 whatever the dtype, unless given an `attention_fn`.
"""

from collections.abc import Mapping

import numpy as np

from jaxgd.interop.torch.bridges.correspondence import Leaf, Path, Positions
from jaxgd.interop.torch.bridges.torch_layers import Layer
from jaxgd.interop.torch.bridges.turning import (
    Layout,
    channels_last,
    moved,
    same,
    transposed,
    transposed_channels_last,
)


def recurrent(gates: Mapping[str, str]) -> Layout:
    """A cell of one matrix a gate and side; the bias, the sum of torch's two, with the state's."""

    def layout(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
        leaves: dict[Path, Leaf] = {}
        count = len(gates)
        for side, names in (("ih", gates.keys()), ("hh", gates.values())):
            weights = np.split(at[f"weight_{side}"], count)
            leaves |= {
                (gate, "kernel"): Leaf(weight.T)
                for gate, weight in zip(names, weights, strict=True)
            }
        biases = np.split(at["bias_ih"], count), np.split(at["bias_hh"], count)
        for gate, ours, added in zip(gates.values(), *biases, strict=True):
            leaves[gate, "bias"] = Leaf(ours, added)
        return leaves

    return layout


def linen_gru(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """Linen's GRUCell: r and z have their bias on the input's side, n has one on each."""
    sides = {"ih": ("ir", "iz", "in"), "hh": ("hr", "hz", "hn")}
    leaves = {
        (gate, "kernel"): Leaf(weight.T)
        for side, gates in sides.items()
        for gate, weight in zip(gates, np.split(at[f"weight_{side}"], 3), strict=True)
    }
    ours, states = np.split(at["bias_ih"], 3), np.split(at["bias_hh"], 3)
    return leaves | {
        ("ir", "bias"): Leaf(ours[0], states[0]),
        ("iz", "bias"): Leaf(ours[1], states[1]),
        ("in", "bias"): Leaf(ours[2]),
        ("hn", "bias"): Leaf(states[2]),
    }


def attention(at: Mapping[str, Positions], layer: Layer) -> dict[Path, Leaf]:
    """Kernels [in, heads, of a head], and [heads, of a head, out]."""
    leaves: dict[Path, Leaf] = {}
    for i, (part, letter) in enumerate((("query", "q"), ("key", "k"), ("value", "v"))):
        packed = at.get("in_proj_weight")
        weight = at[f"{letter}_proj_weight"] if packed is None else np.split(packed, 3)[i]
        leaves[part, "kernel"] = Leaf(weight.T.reshape(weight.shape[1], layer.heads, -1))
        if "in_proj_bias" in at:
            bias = np.split(at["in_proj_bias"], 3)[i]
            leaves[part, "bias"] = Leaf(bias.reshape(layer.heads, -1))
    out = at["out_proj.weight"]
    leaves["out", "kernel"] = Leaf(out.T.reshape(layer.heads, -1, len(out)))
    if "out_proj.bias" in at:
        leaves["out", "bias"] = Leaf(at["out_proj.bias"])
    return leaves


_NORM = {"weight": ("scale", same), "bias": ("bias", same)}
_COMMON: dict[str, Layout] = {
    "linear": moved(weight=("kernel", transposed), bias=("bias", same)),
    "conv": moved(weight=("kernel", channels_last), bias=("bias", same)),
    "conv_transpose": moved(weight=("kernel", transposed_channels_last), bias=("bias", same)),
    "batch_norm": moved(**_NORM, running_mean=("mean", same), running_var=("var", same)),
    "layer_norm": moved(**_NORM),
    "group_norm": moved(**_NORM),
    "embedding": moved(weight=("embedding", same)),
    "attention": attention,
}
LINEN: dict[str, Layout | str] = {
    **_COMMON,
    "lstm": recurrent({"ii": "hi", "if": "hf", "ig": "hg", "io": "ho"}),
    "gru": linen_gru,
}
NNX: dict[str, Layout | str] = {
    **_COMMON,
    "lstm": recurrent({"ii": "hi", "if_": "hf", "ig": "hg", "io": "ho"}),
    "gru": "nnx.GRUCell has no bias inside its reset gate's product, torch's GRU has: it computes "
    "something else",
}
