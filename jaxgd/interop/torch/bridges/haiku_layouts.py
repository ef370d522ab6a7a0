"""Haiku's layouts of torch's layers.

Departs from torch, and is for the port to set: the channels come last; BatchNorm's decay_rate is
1 - torch's momentum, its running variance the biased one and its eps to be given; a transposed
convolution pads by kernel - 1 - padding. Haiku's averages are debiased; their counter is made so
large that nothing is, as in torch.
"""

from collections.abc import Mapping

import numpy as np

from jaxgd.interop.torch.bridges.correspondence import Leaf, Path, Positions, constant
from jaxgd.interop.torch.bridges.torch_layers import Layer
from jaxgd.interop.torch.bridges.turning import (
    Layout,
    Turn,
    channels_last,
    flipped,
    moved,
    same,
    transposed,
)

MANY = 2**24  # updates, after which decay_rate**updates is 0


def transposed_kernel(at: Positions) -> Positions:
    """[in, out, *space] of a transposed convolution -> [*space, out, in], turned round."""
    return channels_last(flipped(at)).swapaxes(-1, -2)


def in_front(count: int) -> Turn:
    """[n] -> [1, …, n], so many axes more."""
    return lambda at: at.reshape((1,) * count + at.shape)


def batch_norm(at: Mapping[str, Positions], layer: Layer) -> dict[Path, Leaf]:
    """All leaves have the axes of what they are for: [1, *ones, n]."""
    if layer.axes == 1:
        raise ValueError(
            "A bridge to Haiku takes BatchNorm2d and BatchNorm3d, whose leaves have a known number "
            f"of axes; got BatchNorm1d at {layer.name!r}. Move this layer by hand."
        )
    turn = in_front(layer.axes + 1)
    names: dict[str, Path] = {"weight": ("scale",), "bias": ("offset",)}
    leaves: dict[Path, Leaf] = {names[role]: Leaf(turn(at[role])) for role in names if role in at}
    for role, average in (("running_mean", "mean_ema"), ("running_var", "var_ema")):
        if role in at:
            leaves |= {("~", average, kept): Leaf(turn(at[role])) for kept in ("hidden", "average")}
            leaves["~", average, "counter"] = constant(MANY)
    return leaves


def lstm(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """One matrix for input and state, gates i, g, f, o; 1 is added to f by the cell itself."""

    def gates(rows: Positions) -> Positions:
        i, f, g, o = np.split(rows, 4)
        return np.concatenate([i, g, f, o])

    w = np.concatenate([gates(at["weight_ih"]).T, gates(at["weight_hh"]).T])
    forget = np.repeat([0.0, 0.0, -1.0, 0.0], len(at["bias_ih"]) // 4)
    b = Leaf(gates(at["bias_ih"]), gates(at["bias_hh"]), forget)
    return {("linear", "w"): Leaf(w), ("linear", "b"): b}


def attention(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """Linear maps: query, key, value, and the last one."""
    leaves: dict[Path, Leaf] = {}
    for i, (part, letter) in enumerate((("query", "q"), ("key", "k"), ("value", "v"))):
        packed = at.get("in_proj_weight")
        weight = at[f"{letter}_proj_weight"] if packed is None else np.split(packed, 3)[i]
        leaves[part, "w"] = Leaf(weight.T)
        if "in_proj_bias" in at:
            leaves[part, "b"] = Leaf(np.split(at["in_proj_bias"], 3)[i])
    leaves["linear", "w"] = Leaf(at["out_proj.weight"].T)
    if "out_proj.bias" in at:
        leaves["linear", "b"] = Leaf(at["out_proj.bias"])
    return leaves


_NORM = moved(weight=("scale", same), bias=("offset", same))
HAIKU: dict[str, Layout | str] = {
    "linear": moved(weight=("w", transposed), bias=("b", same)),
    "conv": moved(weight=("w", channels_last), bias=("b", same)),
    "conv_transpose": moved(weight=("w", transposed_kernel), bias=("b", same)),
    "batch_norm": batch_norm,
    "layer_norm": _NORM,
    "group_norm": _NORM,
    "embedding": moved(weight=("embeddings", same)),
    "lstm": lstm,
    "gru": "hk.GRU resets the state before its product, torch's GRU after it: it computes "
    "something else",
    "attention": attention,
}
