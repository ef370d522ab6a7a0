"""Each kind of torch layer, and the same layer of each framework with bridged parameters."""

from functools import cache

import equinox as eqx
import flax.linen as linen
import haiku as hk
import jax
import jax.numpy as jnp
import torch
from flax import nnx
from torch import nn

DTYPE = jnp.float64
KEY = jax.random.key(0)
D, K, H = 4, 6, 2  # inputs, outputs, heads
PAD = {1: ((1, 1),), 2: ((1, 1),) * 2, 3: ((1, 1),) * 3}


def last(x):
    """Channels last."""
    return jnp.moveaxis(x, 1, -1)


def first(y):
    return jnp.moveaxis(y, -1, 1)


def same(x):
    return x


# Torch's layers, what they are given, and what is taken of their outputs.

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
WORDS, STEPS = (3,), (3, 5, D)


def space(axes):
    return (3, D, *(5, 4, 3)[:axes])


TORCH = {
    "linear": (lambda: nn.Linear(D, K), (3, D)),
    "linear without bias": (lambda: nn.Linear(D, K, bias=False), (3, D)),
    **{f"conv{n}d": (lambda n=n: CONV[n](D, K, 3, padding=1, groups=2), space(n)) for n in CONV},
    **{
        f"conv{n}d transposed": (
            lambda n=n: TRANSPOSED[n](D, K, 3, padding=1, stride=2),
            space(n),
        )
        for n in CONV
    },
    **{f"batch norm {n}d": (lambda n=n: BATCH_NORM[n](D), space(n)) for n in CONV},
    "layer norm": (lambda: nn.LayerNorm(D), (3, D)),
    "group norm": (lambda: nn.GroupNorm(2, D), space(2)),
    "embedding": (lambda: nn.Embedding(7, D), WORDS),
    "lstm": (lambda: nn.LSTM(D, K, batch_first=True), STEPS),
    "gru": (lambda: nn.GRU(D, K, batch_first=True), STEPS),
    "attention": (lambda: nn.MultiheadAttention(D, H, batch_first=True), STEPS),
    "attention without bias": (
        lambda: nn.MultiheadAttention(D, H, batch_first=True, bias=False),
        STEPS,
    ),
}


def scrambled(module):
    """No number is what layers begin with."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
            else:
                tensor.fill_(7)
    return module


def given(name):
    """The layer in float64, its input, and its output as NumPy arrays."""
    torch.manual_seed(0)
    make, shape = TORCH[name]
    module = scrambled(make().double().eval())
    generator = torch.Generator().manual_seed(1)
    if name == "embedding":
        x = torch.randint(0, 7, shape, generator=generator)
    else:
        x = torch.randn(shape, dtype=torch.float64, generator=generator)
    y = module(x, x, x)[0] if "attention" in name else module(x)
    y = y[0] if isinstance(y, tuple) else y
    return module, x.numpy(), y.detach().numpy()


# NNX


def in_its_own_dtype(query, key, value, *, mask, **_):
    """NNX's own attention takes the softmax in float32, in float64, too."""
    return linen.dot_product_attention(query, key, value, mask=mask)


def on_nnx(layer, turn=same, back=same, **call):
    def run(crossing, x):
        nnx.update(layer, crossing.into(nnx.state(layer)))
        return back(layer(turn(x), **call))

    return run


@cache
def nnx_layers():
    attention = {"decode": False, "attention_fn": in_its_own_dtype}
    options = {"rngs": nnx.Rngs(0), "param_dtype": DTYPE}
    eval_mode = {"use_running_average": True}
    return {
        "linear": on_nnx(nnx.Linear(D, K, **options)),
        "linear without bias": on_nnx(nnx.Linear(D, K, use_bias=False, **options)),
        **{
            f"conv{n}d": on_nnx(
                nnx.Conv(D, K, (3,) * n, padding=PAD[n], feature_group_count=2, **options),
                last,
                first,
            )
            for n in CONV
        },
        **{
            f"conv{n}d transposed": on_nnx(
                nnx.ConvTranspose(D, K, (3,) * n, strides=2, padding=PAD[n], **options), last, first
            )
            for n in CONV
        },
        **{
            f"batch norm {n}d": on_nnx(nnx.BatchNorm(D, **options), last, first, **eval_mode)
            for n in CONV
        },
        "layer norm": on_nnx(nnx.LayerNorm(D, epsilon=1e-5, **options)),
        "group norm": on_nnx(nnx.GroupNorm(D, 2, epsilon=1e-5, **options), last, first),
        "embedding": on_nnx(nnx.Embed(7, D, **options)),
        "lstm": rnn_of_nnx,
        "attention": on_nnx(nnx.MultiHeadAttention(H, D, **attention, **options)),
        "attention without bias": on_nnx(
            nnx.MultiHeadAttention(H, D, use_bias=False, **attention, **options)
        ),
    }  # fmt: skip


def rnn_of_nnx(crossing, x):
    layer = nnx.RNN(nnx.LSTMCell(D, K, rngs=nnx.Rngs(0), param_dtype=DTYPE))
    nnx.update(layer, crossing.into(nnx.state(layer, nnx.Param)))
    return layer(x)


# Linen


def on_linen(layer, turn=same, back=same, **call):
    def run(crossing, x):
        variables = layer.init(KEY, turn(x), **call)
        filled = {kind: crossing.into(tree) for kind, tree in variables.items()}
        return back(layer.apply(filled, turn(x), **call))

    return run


class RecurrentInLinen(linen.Module):
    cell: linen.Module

    @linen.compact
    def __call__(self, x):
        return linen.RNN(self.cell)(x)


@cache
def linen_layers():
    dtype = {"param_dtype": DTYPE}
    eval_mode = {"use_running_average": True}
    return {
        "linear": on_linen(linen.Dense(K, **dtype)),
        "linear without bias": on_linen(linen.Dense(K, use_bias=False, **dtype)),
        **{
            f"conv{n}d": on_linen(
                linen.Conv(K, (3,) * n, padding=PAD[n], feature_group_count=2, **dtype), last, first
            )
            for n in CONV
        },
        **{
            f"conv{n}d transposed": on_linen(
                linen.ConvTranspose(K, (3,) * n, (2,) * n, PAD[n], **dtype), last, first
            )
            for n in CONV
        },
        **{
            f"batch norm {n}d": on_linen(linen.BatchNorm(**dtype), last, first, **eval_mode)
            for n in CONV
        },
        "layer norm": on_linen(linen.LayerNorm(epsilon=1e-5, **dtype)),
        "group norm": on_linen(linen.GroupNorm(2, epsilon=1e-5, **dtype), last, first),
        "embedding": on_linen(linen.Embed(7, D, **dtype)),
        "lstm": on_linen(RecurrentInLinen(linen.LSTMCell(K, **dtype))),
        "gru": on_linen(RecurrentInLinen(linen.GRUCell(K, **dtype))),
        "attention": on_linen(linen.MultiHeadDotProductAttention(H, **dtype)),
        "attention without bias": on_linen(
            linen.MultiHeadDotProductAttention(H, use_bias=False, **dtype)
        ),
    }  # fmt: skip


# Equinox: layers take one example.


def on_equinox(layer, call=None):
    def run(crossing, x):
        made = crossing.into(layer)
        return jax.vmap(made if call is None else lambda one: call(made, one))(x)

    return run


def batch_norm_of_equinox(crossing, x):
    made = crossing.into(eqx.nn.BatchNorm(D, "batch", mode="batch", inference=True, dtype=DTYPE))
    state = eqx.nn.State(made)
    return jax.vmap(made, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)[0]


def scanned(cell, x):
    """The states of a cell of Equinox over the steps of one example."""

    def step(carry, row):
        carry = cell(row, carry)
        return carry, carry[0] if isinstance(carry, tuple) else carry

    zeros = jnp.zeros(cell.hidden_size, x.dtype)
    pair = isinstance(cell, eqx.nn.LSTMCell)
    return jax.lax.scan(step, (zeros, zeros) if pair else zeros, x)[1]


@cache
def equinox_layers():
    options = {"key": KEY, "dtype": DTYPE}
    conv, transposed = eqx.nn.Conv, eqx.nn.ConvTranspose
    biased = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
    attend = lambda layer, x: layer(x, x, x)  # noqa: E731
    return {
        "linear": on_equinox(eqx.nn.Linear(D, K, **options)),
        "linear without bias": on_equinox(eqx.nn.Linear(D, K, use_bias=False, **options)),
        **{f"conv{n}d": on_equinox(conv(n, D, K, 3, padding=1, groups=2, **options)) for n in CONV},
        **{
            f"conv{n}d transposed": on_equinox(transposed(n, D, K, 3, 2, 1, **options))
            for n in CONV
        },
        **{f"batch norm {n}d": batch_norm_of_equinox for n in CONV},
        "layer norm": on_equinox(eqx.nn.LayerNorm(D, dtype=DTYPE)),
        "group norm": on_equinox(eqx.nn.GroupNorm(2, D, dtype=DTYPE)),
        "embedding": on_equinox(eqx.nn.Embedding(7, D, **options)),
        "lstm": on_equinox(eqx.nn.LSTMCell(D, K, **options), scanned),
        "gru": on_equinox(eqx.nn.GRUCell(D, K, **options), scanned),
        "attention": on_equinox(eqx.nn.MultiheadAttention(H, D, **biased, **options), attend),
        "attention without bias": on_equinox(eqx.nn.MultiheadAttention(H, D, **options), attend),
    }


# Haiku: the layer is named in the function.


def on_haiku(function):
    def run(crossing, x):
        made = hk.without_apply_rng(hk.transform_with_state(lambda x: function(x)))
        params, state = made.init(KEY, x)
        return made.apply(crossing.into(params), crossing.into(state), x)[0]

    return run


def attention_of_haiku(bias):
    def run(x):
        init = hk.initializers.Constant(0.0)
        layer = hk.MultiHeadAttention(H, D // H, w_init=init, with_bias=bias, name="layer")
        return layer(x, x, x)

    return run


def lstm_of_haiku(x):
    core = hk.LSTM(K, name="layer")
    return hk.dynamic_unroll(core, x, core.initial_state(len(x)), time_major=False)[0]


@cache
def haiku_layers():
    name = {"name": "layer"}
    conv = {1: hk.Conv1D, 2: hk.Conv2D, 3: hk.Conv3D}
    transposed = {1: hk.Conv1DTranspose, 2: hk.Conv2DTranspose, 3: hk.Conv3DTranspose}
    norm = lambda x: first(  # noqa: E731
        hk.BatchNorm(True, True, 0.9, eps=1e-5, **name)(last(x), hk.running_init())
    )
    return {
        "linear": on_haiku(lambda x: hk.Linear(K, **name)(x)),
        "linear without bias": on_haiku(lambda x: hk.Linear(K, with_bias=False, **name)(x)),
        **{
            f"conv{n}d": on_haiku(
                lambda x, n=n: first(
                    conv[n](K, 3, padding=PAD[n], feature_group_count=2, **name)(last(x))
                )
            )
            for n in CONV
        },
        **{
            f"conv{n}d transposed": on_haiku(
                lambda x, n=n: first(transposed[n](K, 3, 2, padding=PAD[n], **name)(last(x)))
            )
            for n in CONV
        },
        "batch norm 2d": on_haiku(norm),
        "batch norm 3d": on_haiku(norm),
        "layer norm": on_haiku(lambda x: hk.LayerNorm(-1, True, True, **name)(x)),
        "group norm": on_haiku(lambda x: first(hk.GroupNorm(2, **name)(last(x)))),
        "embedding": on_haiku(lambda x: hk.Embed(7, D, **name)(x)),
        "lstm": on_haiku(lstm_of_haiku),
        "attention": on_haiku(attention_of_haiku(True)),
        "attention without bias": on_haiku(attention_of_haiku(False)),
    }


LAYERS = {
    "nnx": nnx_layers,
    "linen": linen_layers,
    "equinox": equinox_layers,
    "haiku": haiku_layers,
}
# Where the layer stands, if not on top, where torch has it.
NAMES = {
    ("linen", "lstm"): {"": "cell"},
    ("linen", "gru"): {"": "cell"},
}
REFUSED = {
    ("nnx", "gru"): "no bias inside its reset gate",
    ("haiku", "gru"): "resets the state before its product",
    ("haiku", "batch norm 1d"): "takes BatchNorm2d and BatchNorm3d",
}


def names_of(to, name):
    return {"": "layer"} if to == "haiku" else NAMES.get((to, name))
