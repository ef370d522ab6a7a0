"""The models as people port them: to Flax NNX, Linen, Equinox and Haiku, over a bridge.

A port keeps torch's parameters and gives its framework what `bridge` makes of them: the gradient is
that of torch's own parameters, also where the framework has one bias for torch's two.
"""

from functools import cache

import equinox as eqx
import flax.linen as linen
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn

from jaxgd.interop.activations import (
    equinox_layers,
    linen_layers,
    nnx_layers,
    over_rows,
    tap,
)
from jaxgd.interop.torch import bridge
from tests.equivalence.ports.models import (
    HEADS,
    OPTIMIZER,
    SMOOTHED,
    SUMMED,
    WIDTH,
    LastOfLSTM,
    Transformer,
    cnn_with_batch_norm,
    images,
    regression,
    tokens,
)
from tests.equivalence.ports.porting import Port

KEY = jax.random.key(0)


@cache
def crossing(module, to, **names):
    return bridge(module(), to, {name.replace("_", "."): path for name, path in names.items()})


def crossed(module, to, p, buffers, **names):
    """The bridge with these parameters and buffers, traced or not."""
    return crossing(module, to, **names).of({**p, **buffers})


def last(x):
    return jnp.moveaxis(x, 1, -1)


def first(x):
    return jnp.moveaxis(x, -1, 1)


# A CNN with BatchNorm in NNX


class BatchNorm(nnx.BatchNorm):
    """NNX's, keeping the unbiased variance, as torch does."""

    def __call__(self, x):
        kept, count = self.var[...], x.size / x.shape[-1]
        y = super().__call__(x)
        unbiased = x.var(axis=(0, 1, 2)) * count / (count - 1)
        self.var[...] = self.momentum * kept + (1 - self.momentum) * unbiased
        return y


def cnn_in_nnx(p, buffers, x, norm=BatchNorm, momentum=0.9, eps=1e-5, turned=True):
    rngs, both = nnx.Rngs(0), {"momentum": momentum, "epsilon": eps, "use_fast_variance": False}
    pooled = lambda y: nnx.max_pool(y, (2, 2), (2, 2))  # noqa: E731
    model = nnx.Sequential(
        nnx.Conv(2, 6, (3, 3), padding=1, rngs=rngs), norm(6, **both, rngs=rngs), nnx.relu, pooled,
        nnx.Conv(6, 8, (3, 3), padding=1, rngs=rngs), norm(8, **both, rngs=rngs), nnx.relu, pooled,
        lambda y: (first(y) if turned else y).reshape(len(y), -1), nnx.Linear(32, 5, rngs=rngs),
    )  # fmt: skip
    here = crossed(cnn_with_batch_norm, "nnx", p, buffers)
    nnx.update(model, here.into(nnx.state(model)))
    with nnx_layers(model):
        y = model(last(x))
    after = here.named_buffers(nnx.state(model, nnx.BatchStat))
    counts = {name: b + 1 for name, b in buffers.items() if name.endswith("tracked")}
    return y, after | counts


# The transformer of two layers in Linen


class EncoderLayer(linen.Module):
    eps: float
    approximate: bool
    norm_first: bool

    @linen.compact
    def __call__(self, h):
        attend = linen.MultiHeadDotProductAttention(HEADS, name="self_attn")
        norms = [linen.LayerNorm(self.eps, use_fast_variance=False, name=f"norm{i}") for i in "12"]
        wide, narrow = linen.Dense(32, name="linear1"), linen.Dense(WIDTH, name="linear2")
        forward = lambda y: narrow(linen.gelu(wide(y), self.approximate))  # noqa: E731
        for part, norm in zip((attend, forward), norms, strict=True):
            h = h + part(norm(h)) if self.norm_first else norm(h + part(h))
        return h


class TransformerInLinen(linen.Module):
    eps: float = 1e-5
    approximate: bool = False
    norm_first: bool = True
    positions: bool = True
    mean: bool = True

    @linen.compact
    def __call__(self, x):
        position = self.param("position", linen.initializers.zeros, (9, WIDTH))
        h = linen.Embed(17, WIDTH, name="embedding")(x) + (position if self.positions else 0)
        for i in range(2):
            layer = EncoderLayer(self.eps, self.approximate, self.norm_first, name=f"layers_{i}")
            h = layer(h)
        return linen.Dense(4, name="out")(h.mean(axis=1) if self.mean else h[:, 0])


def transformer_in_linen(p, buffers, x, **options):
    here = crossed(Transformer, "linen", p, buffers)
    return linen_layers(TransformerInLinen(**options).apply)({"params": here.params}, x), buffers


# A language model whose head is its embedding, in Linen: the logits of the next token


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(17, WIDTH), nn.Embedding(9, WIDTH)
        self.ln_1, self.ln_2, self.ln_f = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.fc, self.proj = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
        self.head = nn.Linear(WIDTH, 17, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x):
        h = self.wte(x) + self.wpe.weight
        later = torch.triu(torch.ones(9, 9, dtype=torch.bool), 1)
        y = self.ln_1(h)
        h = h + self.attn(y, y, y, attn_mask=later, need_weights=False)[0]
        gelu = nn.functional.gelu(self.fc(self.ln_2(h)), approximate="tanh")
        return self.head(self.ln_f(h + self.proj(gelu))[:, 4])


class GPTInLinen(linen.Module):
    eps: float = 1e-5
    approximate: bool = True
    causal: bool = True
    tied: bool = True
    final_norm: bool = True
    scaled: bool = False

    @linen.compact
    def __call__(self, x):
        embed = linen.Embed(17, WIDTH, name="wte")
        norm = lambda name: linen.LayerNorm(self.eps, use_fast_variance=False, name=name)  # noqa: E731
        h = embed(x) * (WIDTH**0.5 if self.scaled else 1)
        h = h + linen.Embed(9, WIDTH, name="wpe")(jnp.arange(9))
        mask = linen.make_causal_mask(x) if self.causal else None
        h = h + linen.MultiHeadDotProductAttention(HEADS, name="attn")(norm("ln_1")(h), mask=mask)
        gelu = linen.gelu(linen.Dense(32, name="fc")(norm("ln_2")(h)), self.approximate)
        h, final = h + linen.Dense(WIDTH, name="proj")(gelu), norm("ln_f")
        h = (final(h) if self.final_norm else h + 0 * final(h))[:, 4]
        return embed.attend(h) if self.tied else h @ jax.lax.stop_gradient(embed.embedding).T


def gpt_in_linen(p, buffers, x, **options):
    here = crossed(GPT, "linen", p, buffers)
    return linen_layers(GPTInLinen(**options).apply)({"params": here.params}, x), buffers


def next_tokens(rng):
    x, _ = tokens(rng)
    return x, (x[:, 4] + x[:, 3]) % 17


# GRU in Equinox: one example, and vmap


class LastOfGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        self.gru = nn.GRU(8, 12, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, x):
        return self.out(self.gru(self.embedding(x))[0][:, -1])


class GRUInEquinox(eqx.Module):
    embedding: eqx.nn.Embedding
    gru: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __init__(self):
        self.embedding = eqx.nn.Embedding(17, 8, key=KEY)
        self.gru = eqx.nn.GRUCell(8, 12, key=KEY)
        self.out = eqx.nn.Linear(12, 4, key=KEY)

    def __call__(self, x, state="last", backwards=False):
        def step(h, row):
            h = self.gru(row, h)
            return h, h

        rows = tap("embedding", jax.vmap(self.embedding)(x), x)
        _, hs = jax.lax.scan(step, jnp.zeros(12, rows.dtype), rows, reverse=backwards)
        hs = tap("gru", hs, rows)
        taken = {"last": hs[0 if backwards else -1], "mean": hs.mean(axis=0)}[state]
        return tap("out", self.out(taken), taken)


def gru_in_equinox(p, buffers, x, inner_bias=True, **options):
    model = crossed(LastOfGRU, "equinox", p, buffers).into(GRUInEquinox())
    if not inner_bias:
        model = eqx.tree_at(lambda m: m.gru.bias_n, model, replace_fn=jax.lax.stop_gradient)
        model = eqx.tree_at(lambda m: m.gru.bias_n, model, replace_fn=jnp.zeros_like)
    return over_rows(lambda one: model(one, **options))(x), buffers


# MLP in Equinox


def silu_mlp():
    return nn.Sequential(
        nn.Linear(12, 24), nn.SiLU(), nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, 2)
    )


def mlp_in_equinox(p, buffers, x, activation=jax.nn.silu, final=lambda y: y):
    model = eqx.nn.MLP(12, 2, 24, 2, activation=activation, final_activation=final, key=KEY)
    paths = {"0": "layers.0", "2": "layers.1", "4": "layers.2"}
    model = crossed(silu_mlp, "equinox", p, buffers, **paths).into(model)
    return over_rows(equinox_layers(model))(x), buffers


# LSTM in Haiku


def lstm_in_haiku(p, buffers, x, forget=0.0, torchs_gates=False, first_state=False):
    def forward(x):
        rows = tap("embedding", hk.Embed(17, 8, name="embedding")(x), x)
        core = hk.LSTM(12, name="lstm")
        start = jax.tree.map(lambda h: h.astype(rows.dtype), core.initial_state(len(x)))
        hs, _ = hk.dynamic_unroll(core, rows, start, time_major=False)
        hs = tap("lstm", hs, rows)
        taken = hs[:, 0 if first_state else -1]
        return tap("out", hk.Linear(4, name="out")(taken), taken)

    params = dict(crossed(LastOfLSTM, "haiku", p, buffers).params)
    cell = params["lstm/linear"]
    if torchs_gates:  # i, f, g, o where Haiku has i, g, f, o
        cell = {n: leaf[..., np.r_[0:12, 24:36, 12:24, 36:48]] for n, leaf in cell.items()}
    added = np.repeat([0.0, 0.0, forget, 0.0], 12)
    params["lstm/linear"] = cell | {"b": cell["b"] + added.astype(cell["b"].dtype)}
    return hk.without_apply_rng(hk.transform(forward)).apply(params, x), buffers


# A convolutional autoencoder with GroupNorm in NNX


def convolutional_autoencoder():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.SiLU(),
        nn.ConvTranspose2d(8, 2, 4, stride=2, padding=1),
    )  # fmt: skip


def autoencoder_in_nnx(p, buffers, x, eps=1e-5, groups=2, padding=1, turned=True, inner=2):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Conv(2, 8, (3, 3), strides=2, padding=padding, rngs=rngs),
        nnx.GroupNorm(8, groups, epsilon=eps, use_fast_variance=False, rngs=rngs),
        nnx.silu,
        nnx.ConvTranspose(8, 2, (4, 4), strides=2, padding=inner, rngs=rngs),
    )
    here = crossed(convolutional_autoencoder, "nnx", p, buffers)
    nnx.update(model, here.into(nnx.state(model)))
    if not turned:
        model.layers[3].kernel[...] = model.layers[3].kernel[...][::-1, ::-1]
    with nnx_layers(model):
        y = model(last(x))
    return first(y), buffers


def shapes_to_restore(rng):
    x, _ = images(rng, side=6)
    return x, np.tanh(x)


OF_ENCODER = {"embedding": "embedding", "out": "out"} | {
    f"layers_{i}.{part}": f"layers.{i}.{part}"
    for i in range(2)
    for part in ("norm1", "self_attn", "norm2", "linear1", "linear2")
}

FRAMEWORK_PORTS = [
    Port("CNN + BatchNorm, NNX", cnn_with_batch_norm, cnn_in_nnx, images, classes=True,
         names={f"layers.{i}": i for i in "01459"}, channels_last=("0", "1", "4", "5"),
         faults={"NNX's own running variance": {"norm": nnx.BatchNorm},
                 "torch's momentum": {"momentum": 0.1}, "norm eps 1e-3": {"eps": 1e-3},
                 "channels last": {"turned": False}, **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("transformer, Linen", Transformer, transformer_in_linen, tokens, classes=True,
         names=OF_ENCODER,
         faults={"Flax's LayerNorm eps": {"eps": 1e-6}, "Flax's GELU": {"approximate": True},
                 "norm last": {"norm_first": False}, "no positions": {"positions": False},
                 "first token": {"mean": False}, **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("GPT, tied head, Linen", GPT, gpt_in_linen, next_tokens, classes=True,
         names={name: name for name in ("wte", "ln_1", "attn", "ln_2", "fc", "proj", "ln_f")},
         faults={"Flax's LayerNorm eps": {"eps": 1e-6}, "exact GELU": {"approximate": False},
                 "not causal": {"causal": False}, "head without gradient": {"tied": False},
                 "no final norm": {"final_norm": False}, "embedding × √d": {"scaled": True},
                 **OPTIMIZER, **SUMMED}),
    Port("GRU, Equinox", LastOfGRU, gru_in_equinox, tokens, classes=True, lr=0.01,
         faults={"no bias in the reset gate": {"inner_bias": False},
                 "mean of states": {"state": "mean"}, "backwards": {"backwards": True},
                 **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("MLP, Equinox", silu_mlp, mlp_in_equinox, regression, lr=0.01,
         names={"layers.0": "0", "layers.1": "2", "layers.2": "4"},
         faults={"GELU": {"activation": jax.nn.gelu}, "tanh at the end": {"final": jnp.tanh},
                 **OPTIMIZER, **SUMMED}),
    Port("LSTM, Haiku", LastOfLSTM, lstm_in_haiku, tokens, classes=True, lr=0.01,
         faults={"Haiku's forget bias": {"forget": 1.0}, "torch's gates": {"torchs_gates": True},
                 "first state": {"first_state": True}, **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("conv autoencoder, NNX", convolutional_autoencoder, autoencoder_in_nnx, shapes_to_restore,
         names={"layers.0": "0", "layers.1": "1", "layers.3": "3"}, channels_last=("0", "1", "3"),
         faults={"Flax's GroupNorm eps": {"eps": 1e-6}, "four groups": {"groups": 4},
                 "SAME": {"padding": "SAME"}, "kernel not turned": {"turned": False},
                 **OPTIMIZER, **SUMMED}),
]  # fmt: skip
