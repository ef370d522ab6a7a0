"""A PyTorch training ported to JAX and optax, and shown to be the same training.

An MLP, a shuffling DataLoader, clipping, Adam with weight decay, StepLR. First the rows are put in
the same order, then both sides are recorded, compared and, where they part, diagnosed. The mistakes
are those that such a port begins with: an order of one's own, a sum where torch takes the mean, and
optax.adamw, whose weight decay is not torch.optim.Adam's. Clipping hides the sum for a while: the
parameters part three updates later than the loss.

Prints:
    the port: The runs are the same, to rounding.
    an order of one's own: The runs part at update 1 of 54.
      Stage: batch. Cause: the rows come in another order.
    a summed loss: The runs part at update 4 of 54.
      Stage: loss. Cause: summed over the batch, not averaged.
    optax.adamw: The runs part at update 1 of 54.
      Stage: parameters. Cause: weight decay is decoupled, not coupled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from sklearn.datasets import load_breast_cancer

from jaxgd.equivalence import Recipe, Update, compare, diagnose
from jaxgd.interop.torch import dataloader_order
from jaxgd.optim import clip_grad_norm
from jaxgd.optim.schedules import step_lr

SEED, EPOCHS, BATCH = 0, 6, 64
LR, WEIGHT_DECAY, MAX_NORM = 0.01, 0.01, 0.5

x, y = load_breast_cancer(return_X_y=True)
x, y = ((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.float32)[:, None]


# The training as it was: in PyTorch. Recording it takes four lines.


def copied(named_tensors):
    return {name: tensor.detach().clone() for name, tensor in named_tensors}


torch.manual_seed(SEED)
model = torch.nn.Sequential(torch.nn.Linear(30, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)),
    BATCH,
    shuffle=True,
    generator=torch.Generator().manual_seed(SEED),
)
optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

in_torch = []
for _ in range(EPOCHS):
    for batch in loader:
        optimizer.zero_grad()
        logits = model(batch[0])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch[1])
        loss.backward()
        params = copied(model.named_parameters())
        gradient = copied((name, p.grad) for name, p in model.named_parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        updated = copied(model.named_parameters())
        in_torch.append(Update(params, gradient, updated, batch, logits.detach(), loss.item()))
    scheduler.step()


# The port: pure functions, and an optax chain in the order in which torch does things.

schedule = step_lr(LR, step_size=2 * len(loader), gamma=0.5)  # counted in updates, not in epochs
rates = [float(schedule(count)) for count in range(EPOCHS * len(loader))]
recipe = Recipe("adam", lr=rates, weight_decay=WEIGHT_DECAY, max_norm=MAX_NORM)
clip, descend = clip_grad_norm(MAX_NORM), optax.scale_by_learning_rate(schedule)
decay = optax.add_decayed_weights(WEIGHT_DECAY)

adam = optax.chain(clip, decay, optax.scale_by_adam(), descend)
adamw = optax.chain(clip, optax.scale_by_adam(), decay, descend)


def train_in_jax(order, optimizer=adam, reduce=jnp.mean):
    """The recorded training on the rows in that order [epochs, rows]."""

    def objective(params, x, y):
        hidden = jnp.tanh(x @ params["0.weight"].T + params["0.bias"])
        logits = hidden @ params["2.weight"].T + params["2.bias"]
        return reduce(optax.sigmoid_binary_cross_entropy(logits, y)), logits

    @jax.jit
    def update(params, state, x, y):
        (loss, logits), gradient = jax.value_and_grad(objective, has_aux=True)(params, x, y)
        steps, state = optimizer.update(gradient, state, params)
        updated = optax.apply_updates(params, steps)
        return state, Update(params, gradient, updated, (x, y), logits, loss)

    params = {name: jnp.asarray(value.numpy()) for name, value in in_torch[0].params.items()}
    state, recording = optimizer.init(params), []
    for epoch in order:
        for first in range(0, len(x), BATCH):
            rows = epoch[first : first + BATCH]
            state, done = update(params, state, x[rows], y[rows])
            recording.append(done)
            params = done.updated
    return recording


# The proof.


def trajectory(recording):
    return [recording[0].params, *(update.updated for update in recording)]


same_order = dataloader_order(SEED, len(x), EPOCHS)
own_order = np.stack([np.random.default_rng(epoch).permutation(len(x)) for epoch in range(EPOCHS)])

for title, in_jax in (
    ("the port", train_in_jax(same_order)),
    ("an order of one's own", train_in_jax(own_order)),
    ("a summed loss", train_in_jax(same_order, reduce=jnp.sum)),
    ("optax.adamw", train_in_jax(same_order, optimizer=adamw)),
):
    report = compare(trajectory(in_jax), trajectory(in_torch))  # print(report) tells more
    if report.verdict == "equivalent":
        print(f"{title}: The runs are the same, to rounding.")
        continue
    found = diagnose(in_jax, in_torch, recipe)  # and so does print(found)
    print(f"{title}: The runs part at update {report.parted_at} of {report.entries - 1}.")
    print(f"  Stage: {found.stage}. Cause: {found.cause}.")
