"""The same transformer in Flax, begun with torch's parameters; writes a recording into a folder.

python in_flax.py RUN-IN-FLAX [adamw] [eps] [gelu]

Each word plants a mistake of such ports: optax.adamw for torch.optim.Adam with weight decay, and
Flax's own defaults where torch has others, LayerNorm's eps and the approximate GELU.
"""

import sys

import flax.linen as nn
import jax
import optax
from in_torch import (
    BATCH,
    HEADS,
    LENGTH,
    LR,
    SEED,
    UPDATES,
    VOCABULARY,
    WEIGHT_DECAY,
    WIDTH,
    batches,
    make,
)

from jaxgd.equivalence import Recorder
from jaxgd.interop.activations import linen_layers, value_and_gradients
from jaxgd.interop.torch import bridge

# What Flax names so, torch names otherwise.
LAYERS = {
    f"layers_{i}.{name}": f"layers.{i}.{name}"
    for i in range(2)
    for name in ("norm1", "self_attn", "norm2", "linear1", "linear2")
} | {name: name for name in ("embedding", "norm", "out")}


class Layer(nn.Module):
    eps: float
    approximate: bool

    @nn.compact
    def __call__(self, h):
        y = nn.LayerNorm(self.eps, name="norm1")(h)
        h = h + nn.MultiHeadDotProductAttention(HEADS, name="self_attn")(y)
        y = nn.Dense(64, name="linear1")(nn.LayerNorm(self.eps, name="norm2")(h))
        return h + nn.Dense(WIDTH, name="linear2")(nn.gelu(y, self.approximate))


class Transformer(nn.Module):
    eps: float = 1e-5
    approximate: bool = False

    @nn.compact
    def __call__(self, tokens):
        position = self.param("position", nn.initializers.zeros, (LENGTH, WIDTH))
        h = nn.Embed(VOCABULARY, WIDTH, name="embedding")(tokens) + position
        for i in range(2):
            h = Layer(self.eps, self.approximate, name=f"layers_{i}")(h)
        return nn.Dense(VOCABULARY, name="out")(nn.LayerNorm(self.eps, name="norm")(h[:, -1]))


def train(folder, faults):
    model = Transformer(1e-6 if "eps" in faults else 1e-5, "gelu" in faults)
    if "adamw" in faults:
        optimizer = optax.adamw(LR, weight_decay=WEIGHT_DECAY)
    else:  # torch adds the decay to the gradient
        optimizer = optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.adam(LR))

    apply = linen_layers(model.apply)

    def objective(params, tokens, target):
        logits = apply({"params": params}, tokens)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        return losses.mean(), logits

    @jax.jit
    def update(params, state, tokens, target):
        compute = value_and_gradients(objective, names=LAYERS, has_aux=True)
        (loss, logits), gradient, layers = compute(params, tokens, target)
        steps, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, steps), state, gradient, layers, logits, loss

    crossing = bridge(make(), "linen")  # torch's model as it begins
    params = crossing.params
    recorder = Recorder(folder, seed=SEED, batch_size=BATCH)
    recorder.start(crossing.named(params))
    state = optimizer.init(params)
    for tokens, target in batches():
        params, state, gradient, layers, logits, loss = update(params, state, tokens, target)
        recorder.update(
            crossing.named_gradient(gradient), crossing.named(params),
            batch=(tokens, target), activations=layers, outputs=logits, loss=float(loss),
        )  # fmt: skip
    print(f"{UPDATES} updates in Flax: the loss is {loss:.4f} at the end.")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    train(sys.argv[1], sys.argv[2:])
