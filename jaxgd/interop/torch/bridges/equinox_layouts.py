"""Equinox's layouts of torch's layers: torch's own, in other names.

Departs from torch, and is for the port to set: `eqx.nn.BatchNorm(mode="batch")`, whose momentum is
1 - torch's and whose running variance is the biased one; the biases of `eqx.nn.MultiheadAttention`,
which it has only if asked. The running statistics lie where the layer has them before
`eqx.nn.make_with_state`; its counter is made so large that nothing is debiased.
"""

from collections.abc import Mapping

import numpy as np

from jaxgd.interop.torch.bridges.correspondence import NONE, Leaf, Path, Positions, constant
from jaxgd.interop.torch.bridges.torch_layers import Layer
from jaxgd.interop.torch.bridges.turning import Layout, flipped, moved, same, with_axes

MANY = 2**24  # updates, after which momentum**updates is 0


def convolution(at: Mapping[str, Positions], layer: Layer) -> dict[Path, Leaf]:
    """The bias has an axis for each one of space; a transposed one's kernel is turned round."""
    turn = flipped if layer.kind == "conv_transpose" else same
    return moved(weight=("weight", turn), bias=("bias", with_axes(layer.axes)))(at, layer)


def batch_norm(at: Mapping[str, Positions], layer: Layer) -> dict[Path, Leaf]:
    """The running statistics are the layer's initial state."""
    leaves = moved(
        weight=("weight", same),
        bias=("bias", same),
        running_mean=("batch_state_index.init.0", same),
        running_var=("batch_state_index.init.1", same),
    )(at, layer)
    counted = {("batch_counter", "init"): constant(MANY)} if "running_mean" in at else {}
    return leaves | counted


def _weights(at: Mapping[str, Positions]) -> dict[Path, Leaf]:
    return {(role,): Leaf(at[role]) for role in ("weight_ih", "weight_hh")}


def lstm(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """Torch's gates, and the sum of its biases."""
    bias = {("bias",): Leaf(at["bias_ih"], at["bias_hh"])} if "bias_ih" in at else {}
    return _weights(at) | bias


def gru(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """Torch's gates; the state's bias of n, which is inside the reset gate's product, by itself."""
    if "bias_ih" not in at:
        return _weights(at)
    reset, update, new = np.split(at["bias_hh"], 3)
    added = np.concatenate([reset, update, np.full_like(new, NONE)])
    return _weights(at) | {("bias",): Leaf(at["bias_ih"], added), ("bias_n",): Leaf(new)}


def attention(at: Mapping[str, Positions], _layer: Layer) -> dict[Path, Leaf]:
    """One matrix [heads * of a head, in] each for queries, keys and values."""
    leaves = {}
    for i, (part, letter) in enumerate((("query", "q"), ("key", "k"), ("value", "v"))):
        packed = at.get("in_proj_weight")
        weight = at[f"{letter}_proj_weight"] if packed is None else np.split(packed, 3)[i]
        leaves[f"{part}_proj", "weight"] = Leaf(weight)
        if "in_proj_bias" in at:
            leaves[f"{part}_proj", "bias"] = Leaf(np.split(at["in_proj_bias"], 3)[i])
    out = {"weight", "bias"} & {role.removeprefix("out_proj.") for role in at}
    return leaves | {("output_proj", leaf): Leaf(at[f"out_proj.{leaf}"]) for leaf in sorted(out)}


_AFFINE = moved(weight=("weight", same), bias=("bias", same))
EQUINOX: dict[str, Layout | str] = {
    "linear": _AFFINE,
    "conv": convolution,
    "conv_transpose": convolution,
    "batch_norm": batch_norm,
    "layer_norm": _AFFINE,
    "group_norm": _AFFINE,
    "embedding": moved(weight=("weight", same)),
    "lstm": lstm,
    "gru": gru,
    "attention": attention,
}
