"""Bayesian search by Optuna, whose trials are trained 64 at a time in one program.

Optuna asks for 64 settings, `sweep` trains them at once, and Optuna is told what came of them;
twice, so that the second 64 are drawn where the first did well. Needs pip install 'jaxgd[study]'.

Prints:
    128 trials, 64 at a time
    median held-out loss of the second 64 is lower than of the first
    best held-out loss below 0.1: True
"""

import jax.numpy as jnp
import numpy as np
import optuna
from sklearn.datasets import load_breast_cancer

import jaxgd
from jaxgd import optim
from jaxgd.study import sweep

optuna.logging.set_verbosity(optuna.logging.WARNING)
TRIALS = 64
SIZES = (8, 16, 32, 64)

x, y = load_breast_cancer(return_X_y=True)
x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
data = jnp.asarray(x[114:]), jnp.asarray(y[114:], jnp.float32)
held_out = jnp.asarray(x[:114]), jnp.asarray(y[:114], jnp.float32)
loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def optimizer(lr, momentum):
    return optim.sgd(lr, momentum)


def asked(trial):
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.95),
        "batch_size": trial.suggest_categorical("batch_size", SIZES),
    }


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True))
for _ in range(2):
    trials = [study.ask() for _ in range(TRIALS)]
    found = sweep(
        loss,
        jaxgd.init_linear(30),
        data,
        optimizer=optimizer,
        grid=[asked(trial) for trial in trials],
        batch_sizes=None,
        seeds=[0],
        epochs=20,
        validation=held_out,
    )
    for trial, value in zip(trials, found.final.over("seed").values, strict=True):
        study.tell(trial, value)

values = np.array([trial.value for trial in study.trials])
first, second = np.median(values[:TRIALS]), np.median(values[TRIALS:])
print(f"{len(values)} trials, {TRIALS} at a time")
than = "lower" if second < first else "higher"
print(f"median held-out loss of the second {TRIALS} is {than} than of the first")
print(f"best held-out loss below 0.1: {study.best_value < 0.1}")
