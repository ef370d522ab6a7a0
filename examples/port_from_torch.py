"""A PyTorch training ported to JAX and optax, and proven to be the same training.

An MLP, a shuffling DataLoader, clipping, Adam with weight decay, StepLR. First the rows are put in
the same order, then torch's side is recorded, and every update is made again in JAX from where
torch began it. The mistakes are those that such a port begins with: an order of one's own, a sum
where torch takes the mean, and optax.adamw, whose weight decay is not torch.optim.Adam's.

Prints:
    the port: The same training, update by update: 54 updates.
    an order of one's own: The trainings part in update 1 of 54.
      Stage: batch. Cause: the rows come in another order.
    a summed loss: The trainings part in update 1 of 54.
      Stage: loss. Cause: summed over the batch, not averaged.
    optax.adamw: The trainings part in update 1 of 54.
      Stage: parameters. Cause: weight decay is decoupled, not coupled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from sklearn.datasets import load_breast_cancer

from jaxgd.equivalence import Recipe, Update, prove
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


def in_jax(optimizer=adam, reduce=jnp.mean):
    """One update of the port, which keeps its optimizer's state."""

    def objective(params, x, y):
        hidden = jnp.tanh(x @ params["0.weight"].T + params["0.bias"])
        logits = hidden @ params["2.weight"].T + params["2.bias"]
        return reduce(optax.sigmoid_binary_cross_entropy(logits, y)), logits

    @jax.jit
    def update(params, state, x, y):
        (loss, logits), gradient = jax.value_and_grad(objective, has_aux=True)(params, x, y)
        steps, state = optimizer.update(gradient, state, params)
        return state, gradient, optax.apply_updates(params, steps), logits, loss

    state = optimizer.init(start)

    def step(params, batch):
        nonlocal state
        params = {name: jnp.asarray(value.numpy()) for name, value in params.items()}
        x, y = (part.numpy() for part in batch)
        state, gradient, updated, logits, loss = update(params, state, x, y)
        return Update(params, gradient, updated, None, logits, loss)

    return step


# The proof: both sides make every update from where torch began it.

start = {name: jnp.asarray(value.numpy()) for name, value in in_torch[0].params.items()}


def reference(params, batch):
    """Torch's own pass, by which its rounding is measured."""
    leaves = {name: torch.as_tensor(value).requires_grad_() for name, value in params.items()}
    x, y = map(torch.as_tensor, batch)
    logits = torch.func.functional_call(model, leaves, (x,))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
    gradient = dict(zip(leaves, torch.autograd.grad(loss, leaves.values()), strict=True))
    return Update(None, gradient, None, None, logits.detach(), loss.item())


def batches(order):
    """What a loader gives that visits the rows in that order [epochs, rows]."""
    starts = range(0, len(x), BATCH)
    return [
        (x[rows], y[rows]) for epoch in order for rows in (epoch[i : i + BATCH] for i in starts)
    ]


same_order = dataloader_order(SEED, len(x), EPOCHS)
own_order = np.stack([np.random.default_rng(epoch).permutation(len(x)) for epoch in range(EPOCHS)])

for title, order, step in (
    ("the port", same_order, in_jax()),
    ("an order of one's own", own_order, in_jax()),
    ("a summed loss", same_order, in_jax(reduce=jnp.sum)),
    ("optax.adamw", same_order, in_jax(optimizer=adamw)),
):
    proof = prove(step, in_torch, reference, recipe, start=start, batches=batches(order))
    print(f"{title}: {str(proof).splitlines()[0]}")  # print(proof) tells more
    if proof.verdict != "equivalent":
        print(f"  Stage: {proof.stage}. Cause: {proof.cause}.")
