"""The models: MLP, autoencoder, CNN, CNN with BatchNorm, transformer, LSTM, bag of embeddings."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from jaxgd.interop.activations import tap
from tests.equivalence.ports.porting import Port


def linear(p, name, x):
    y = x @ p[f"{name}.weight"].T
    return tap(name, y + p[f"{name}.bias"] if f"{name}.bias" in p else y, x)


def tapped(name, function, x):
    return tap(name, function(x), x)


def regression(rng, rows=16, features=12, outputs=2):
    x = rng.normal(size=(rows, features))
    return x, np.stack([np.sin(x[:, i] + x[:, -1 - i]) for i in range(outputs)], axis=1)


def images(rng, rows=16, side=10, classes=5):
    x = rng.normal(size=(rows, 2, side, side))
    y = rng.integers(0, classes, rows)
    x[np.arange(rows), 0, y, :] += 1.5
    return x, y


def tokens(rng, rows=12, length=9, vocabulary=17):
    x = rng.integers(0, vocabulary, (rows, length))
    return x, x[:, 0] % 4


# MLP


def mlp_apply(p, buffers, x, activation=jax.nn.relu, swapped=False):
    for layer in (0, 2):
        x = tapped(str(layer + 1), activation, linear(p, str(layer), x))
    return linear(p, "4", x), buffers


def mlp():
    return nn.Sequential(
        nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2)
    )


# Autoencoder


def autoencoder():
    return nn.Sequential(
        nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8), nn.GELU(),
        nn.Linear(8, 12), nn.Sigmoid(),
    )  # fmt: skip


def autoencoder_apply(p, buffers, x, approximate=False, sigmoid=jax.nn.sigmoid):
    gelu = partial(jax.nn.gelu, approximate=approximate)
    hidden = tapped("1", gelu, linear(p, "0", x))
    code = tapped("3", jnp.tanh, linear(p, "2", hidden))
    hidden = tapped("5", gelu, linear(p, "4", code))
    return tapped("7", sigmoid, linear(p, "6", hidden)), buffers


def compressible(rng):
    x = 1 / (1 + np.exp(-rng.normal(size=(16, 3)) @ rng.normal(size=(3, 12))))
    return x, x


# CNN


def convolved(p, name, x, padding=1, stride=1):
    y = jax.lax.conv_general_dilated(
        x, p[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )  # fmt: skip
    return tap(name, y + p[f"{name}.bias"][:, None, None], x)


def max_pooled(x, shift=0):
    x = jnp.roll(x, shift, axis=(2, 3))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def average_pooled(x, count):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / count


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1)


def cnn():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2), Flat(), nn.Linear(32, 5),
    )  # fmt: skip


def cnn_apply(p, buffers, x, slope=0.1, shift=0, count=4.0, channels_last=False):
    x = tapped("1", jax.nn.relu, convolved(p, "0", x))
    x = tapped("2", partial(max_pooled, shift=shift), x)
    x = tapped("4", partial(jax.nn.leaky_relu, negative_slope=slope), convolved(p, "3", x))
    x = tapped("5", partial(average_pooled, count=count), x)
    x = x.transpose(0, 2, 3, 1) if channels_last else x
    return linear(p, "7", x.reshape(len(x), -1)), buffers


# CNN with BatchNorm: the biases before it are null directions.


def batch_norm(p, buffers, name, x, eps=1e-5, momentum=0.1, biased=True, biased_buffer=False):
    n = x.shape[0] * x.shape[2] * x.shape[3]
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    used = var if biased else var * n / (n - 1)
    kept = var if biased_buffer else var * n / (n - 1)
    shaped = lambda a: a[:, None, None]  # noqa: E731
    y = (x - shaped(mean)) / jnp.sqrt(shaped(used) + eps)
    y = tap(name, y * shaped(p[f"{name}.weight"]) + shaped(p[f"{name}.bias"]), x)
    after = {
        f"{name}.running_mean": (1 - momentum) * buffers[f"{name}.running_mean"] + momentum * mean,
        f"{name}.running_var": (1 - momentum) * buffers[f"{name}.running_var"] + momentum * kept,
        f"{name}.num_batches_tracked": buffers[f"{name}.num_batches_tracked"] + 1,
    }
    return y, after


def cnn_with_batch_norm():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        Flat(), nn.Linear(32, 5),
    )  # fmt: skip


def cnn_with_batch_norm_apply(p, buffers, x, **norm):
    x, first = batch_norm(p, buffers, "1", convolved(p, "0", x), **norm)
    x = tapped("3", max_pooled, tapped("2", jax.nn.relu, x))
    x, second = batch_norm(p, buffers, "5", convolved(p, "4", x), **norm)
    x = tapped("7", max_pooled, tapped("6", jax.nn.relu, x))
    return linear(p, "9", x.reshape(len(x), -1)), first | second


# Transformer: two layers, norm first, the keys' bias a null direction.

WIDTH, HEADS = 16, 2


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(17, WIDTH)
        self.position = nn.Parameter(torch.randn(9, WIDTH) / 4)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.out = nn.Linear(WIDTH, 4)

    def forward(self, x):
        h = self.embedding(x) + self.position
        for layer in self.layers:
            h = layer(h)
        return self.out(h.mean(dim=1))


def layer_norm(p, name, x, eps=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return tap(name, scaled * p[f"{name}.weight"] + p[f"{name}.bias"], x)


def attention(p, name, x, scale=None, interleaved=False):
    packed = x @ p[f"{name}.in_proj_weight"].T + p[f"{name}.in_proj_bias"]
    shape = (*x.shape[:2], HEADS, WIDTH // HEADS)
    parts = [part.reshape(shape) for part in jnp.split(packed, 3, axis=-1)]
    if interleaved:
        parts = [part.reshape(*shape[:2], shape[3], HEADS).swapaxes(2, 3) for part in parts]
    q, k, v = parts
    scale = 1 / np.sqrt(WIDTH // HEADS) if scale is None else scale
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale, axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
    return tap(name, linear(p, f"{name}.out_proj", mixed), x)


def transformer_apply(
    p, buffers, x, eps=1e-5, approximate=False, scale=None, interleaved=False, norm_first=True
):
    h = tap("embedding", p["embedding.weight"][x], x) + p["position"]
    for i in range(2):
        name = f"layers.{i}"
        attend = partial(attention, p, f"{name}.self_attn", scale=scale, interleaved=interleaved)
        forward = lambda y, name=name: linear(  # noqa: E731
            p, f"{name}.linear2", jax.nn.gelu(linear(p, f"{name}.linear1", y), approximate)
        )
        first = partial(layer_norm, p, f"{name}.norm1", eps=eps)
        second = partial(layer_norm, p, f"{name}.norm2", eps=eps)
        if norm_first:
            h = h + attend(first(h))
            h = h + forward(second(h))
        else:
            h = first(h + attend(h))
            h = second(h + forward(h))
    return linear(p, "out", h.mean(axis=1)), buffers


# LSTM


class LastOfLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, x):
        return self.out(self.lstm(self.embedding(x))[0][:, -1])


def lstm_apply(p, buffers, x, gates="ifgo", one_bias=False, forget=0.0, first=False):
    bias = p["lstm.bias_ih_l0"] + (0 if one_bias else p["lstm.bias_hh_l0"])
    embedded = tap("embedding", p["embedding.weight"][x], x)
    inputs = embedded @ p["lstm.weight_ih_l0"].T + bias

    def cell(carry, entering):
        h, c = carry
        parts = jnp.split(entering + h @ p["lstm.weight_hh_l0"].T, 4, axis=-1)
        gate = dict(zip(gates, parts, strict=True))
        c = jax.nn.sigmoid(gate["f"] + forget) * c + jax.nn.sigmoid(gate["i"]) * jnp.tanh(gate["g"])
        h = jax.nn.sigmoid(gate["o"]) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((len(x), 12), inputs.dtype)
    _, hs = jax.lax.scan(cell, (zeros, zeros), inputs.swapaxes(0, 1))
    hs = tap("lstm", hs.swapaxes(0, 1), embedded)
    return linear(p, "out", hs[:, 0 if first else -1]), buffers


# Bag of embeddings, with a padding token


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(17, 10, mode="mean")
        self.norm = nn.GroupNorm(2, 10)
        self.out = nn.Linear(10, 4, bias=False)

    def forward(self, x):
        return self.out(torch.nn.functional.silu(self.norm(self.bag(x))))


def bag_apply(p, buffers, x, groups=2, eps=1e-5, mean=True):
    h = p["bag.weight"][x]
    h = tap("bag", h.mean(axis=1) if mean else h.sum(axis=1), x)
    grouped = h.reshape(len(h), groups, -1)
    centred = grouped - grouped.mean(axis=-1, keepdims=True)
    scaled = centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    h = tap("norm", scaled.reshape(h.shape) * p["norm.weight"] + p["norm.bias"], h)
    return linear(p, "out", jax.nn.silu(h)), buffers


OPTIMIZER = {
    "learning rate × 1.0001": {"rate": 1.0001},
    "Adam's eps 1e-7": {"adam_eps": 1e-7},
    "beta2 .9991": {"beta2": 0.9991},
    "weight decay 1e-3": {"decay": 1e-3},
}
SGD = {"learning rate × 1.0001": {"rate": 1.0001}, "Nesterov": {"nesterov": True}}
SUMMED = {"loss summed": {"reduce": jnp.sum}}
SMOOTHED = {"label smoothing .01": {"smoothing": 0.01}}

PORTS = [
    Port("MLP", mlp, mlp_apply, regression, lr=0.01,
         faults={"leaky": {"activation": jax.nn.leaky_relu}, **OPTIMIZER, **SUMMED}),
    Port("MLP, SGD", mlp, mlp_apply, regression, lr=0.02, optimizer="sgd",
         faults={"tanh": {"activation": jnp.tanh}, **SGD, **SUMMED}),
    Port("autoencoder", autoencoder, autoencoder_apply, compressible,
         faults={"tanh GELU": {"approximate": True}, "no sigmoid": {"sigmoid": lambda x: x},
                 **OPTIMIZER, **SUMMED}),
    Port("CNN", cnn, cnn_apply, images, classes=True,
         faults={"slope .01": {"slope": 0.01}, "pool shifted": {"shift": 1},
                 "channels last": {"channels_last": True}, "pool divides by 9": {"count": 9.0},
                 **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("CNN + BatchNorm", cnn_with_batch_norm, cnn_with_batch_norm_apply, images, classes=True,
         faults={"norm eps 1e-3": {"eps": 1e-3}, "momentum .9": {"momentum": 0.9},
                 "unbiased variance": {"biased": False},
                 "biased running variance": {"biased_buffer": True}, **OPTIMIZER, **SUMMED}),
    Port("transformer", Transformer, transformer_apply, tokens, classes=True,
         faults={"LayerNorm eps 1e-6": {"eps": 1e-6}, "tanh GELU": {"approximate": True},
                 "no scale": {"scale": 1.0}, "heads interleaved": {"interleaved": True},
                 "norm last": {"norm_first": False}, **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("LSTM", LastOfLSTM, lstm_apply, tokens, classes=True, lr=0.01,
         faults={"gates i, o, g, f": {"gates": "iogf"}, "one bias": {"one_bias": True},
                 "forget bias 1": {"forget": 1.0}, "first state": {"first": True},
                 **OPTIMIZER, **SUMMED, **SMOOTHED}),
    Port("bag of embeddings", Bag, bag_apply, tokens, classes=True, lr=0.01,
         faults={"five groups": {"groups": 5}, "norm eps 1e-6": {"eps": 1e-6},
                 "bag summed": {"mean": False}, **OPTIMIZER, **SUMMED, **SMOOTHED}),
]  # fmt: skip
