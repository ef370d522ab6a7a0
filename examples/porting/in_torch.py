"""A small transformer that learns to sum two tokens, in PyTorch; writes a recording into a folder.

python in_torch.py RUN-IN-TORCH
"""

import sys

import numpy as np
import torch
from torch import nn

from jaxgd.equivalence import Recorder  # one file that needs NumPy alone: it may be copied
from jaxgd.interop.torch import capture

SEED, UPDATES, BATCH, LENGTH, VOCABULARY, WIDTH, HEADS = 0, 20, 32, 8, 11, 32, 4
LR, WEIGHT_DECAY = 1e-3, 1e-2


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) / 4)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 64, 0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):
        h = self.embedding(tokens) + self.position
        for layer in self.layers:
            h = layer(h)
        return self.out(self.norm(h[:, -1]))


def batches():
    """The same rows on both sides."""
    rng = np.random.default_rng(SEED)
    for _ in range(UPDATES):
        tokens = rng.integers(0, VOCABULARY, (BATCH, LENGTH))
        yield tokens, (tokens[:, 0] + tokens[:, -1]) % VOCABULARY


def make():
    torch.manual_seed(SEED)
    return Transformer().double()  # a mistake is one in float64, too, where rounding hides less


def train(folder):
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    recipe = {"rule": "adam", "lr": LR, "weight_decay": WEIGHT_DECAY}
    recorder = Recorder(folder, seed=SEED, recipe=recipe, batch_size=BATCH)
    recorder.start(dict(model.named_parameters()))
    for tokens, target in batches():
        optimizer.zero_grad()
        with capture(model) as layers:
            logits = model(torch.tensor(tokens))
            loss = nn.functional.cross_entropy(logits, torch.tensor(target))
            loss.backward()
        gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        updated = dict(model.named_parameters())
        recorder.update(
            gradient, updated,
            batch=(tokens, target), activations=layers, outputs=logits, loss=loss.item(),
        )  # fmt: skip
    print(f"{UPDATES} updates in torch: the loss is {loss.item():.4f} at the end.")


if __name__ == "__main__":
    train(sys.argv[1])
