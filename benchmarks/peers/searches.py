"""Two hundred runs of logistic regression: 200 rates, or 8 rates × 5 batch sizes × 5 seeds.

Every peer shuffles anew each epoch and ends with the last training loss of each run.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgd
from benchmarks.cases import Case, problem

LOSS = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)


def axes(case: Case) -> tuple[list[float], tuple[int, ...], range]:
    """The rates, batch sizes and seeds of a case."""
    if case.kind == "sweep":
        return np.geomspace(1e-3, 1.0, 200).tolist(), (case.batch,), range(1)
    return np.geomspace(1e-3, 1.0, 8).tolist(), (8, 16, 32, 64, 128), range(5)


def swept(case: Case) -> Callable[[], int]:
    data, (rates, sizes, seeds) = problem(case), axes(case)

    def work() -> int:
        grid = {"lr": rates}
        jaxgd.study.sweep(
            LOSS,
            jaxgd.init_linear(case.d),
            data,
            optimizer=jaxgd.optim.sgd,
            grid=grid,
            batch_sizes=sizes,
            seeds=seeds,
            epochs=case.epochs,
        )
        return 1

    return work


def command(case: Case) -> Callable[[], int]:
    rates, sizes, seeds = axes(case)
    words = ["--learning-rates", *map(str, rates), "--batch-sizes", *map(str, sizes)]
    words += ["--seeds", str(len(seeds)), "--epochs", str(case.epochs)]

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            given = [sys.executable, "-m", "jaxgd", "sweep", *words, "--out", folder]
            subprocess.run(given, check=True, capture_output=True)
        return 1

    return work


def single_runs(case: Case) -> Callable[[], int]:
    """`train` in a compiled program for each batch size, called for each rate and seed."""
    data, (rates, sizes, seeds) = jax.tree.map(jnp.asarray, problem(case)), axes(case)

    def run(batch_size, rate, key):
        optimizer = jaxgd.optim.sgd(rate)
        train = jaxgd.train(jaxgd.minibatch(LOSS, optimizer, batch_size), case.epochs)
        return train(jaxgd.init_state(jaxgd.init_linear(case.d), optimizer), data, key)[1]

    runs = {b: jax.jit(partial(run, b)) for b in sizes}
    keys = [jax.random.key(seed) for seed in seeds]
    rates = jnp.asarray(rates)

    def work() -> int:
        jax.block_until_ready([runs[b](r, key) for b, r, key in product(sizes, rates, keys)])
        return 1

    return work


def fits(case: Case) -> Callable[[], int]:
    """`jaxgd.fit`, with the rate in the optimizer's state: a batch size compiles once."""
    data, (rates, sizes, seeds) = problem(case), axes(case)
    optimizer = optax.inject_hyperparams(jaxgd.optim.sgd)(lr=0.1)
    state = jaxgd.init_state(jaxgd.init_linear(case.d), optimizer)

    def work() -> int:
        for b, rate, seed in product(sizes, rates, seeds):
            rates_ = {**state.opt_state.hyperparams, "lr": jnp.float32(rate)}
            there = state.opt_state._replace(hyperparams=rates_)
            jaxgd.fit(
                LOSS,
                state._replace(opt_state=there),
                data,
                optimizer=optimizer,
                epochs=case.epochs,
                batch_size=b,
                key=jax.random.key(seed),
            )
        return 1

    return work


def optax_programs(case: Case) -> Callable[[], int]:
    rates, sizes, seeds = axes(case)
    run = _optax_run(case)

    def work() -> int:
        for b, rate, seed in product(sizes, rates, seeds):
            run(b, rate, seed)
        return 1

    return work


def optuna_alone(case: Case) -> Callable[[], int]:
    """Optuna's own loop, a trial after another, over the same settings and seeds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rates, sizes, seeds = axes(case)
    run = _optax_run(case)

    def objective(trial) -> float:
        rate = trial.suggest_categorical("rate", rates)
        size = trial.suggest_categorical("size", sizes)
        return run(size, rate, trial.suggest_categorical("seed", list(seeds)))

    def work() -> int:
        space = {"rate": rates, "size": list(sizes), "seed": list(seeds)}
        study = optuna.create_study(sampler=optuna.samplers.GridSampler(space, seed=0))
        study.optimize(objective, n_trials=200)
        return 1

    return work


def _optax_run(case: Case) -> Callable[[int, float, int], float]:
    """A run by optax in a jitted scan, as one would write it: a program for each batch size."""
    x, y = map(jnp.asarray, problem(case))

    def loss(params, x, y):
        logits = x @ params["w"] + params["b"]
        return optax.losses.sigmoid_binary_cross_entropy(logits, y).mean()

    def run(batch_size, rate, key):
        optimizer = optax.sgd(rate)
        params = {"w": jnp.zeros(case.d), "b": jnp.zeros(())}

        def update(carry, rows):
            params, state = carry
            value, grad = jax.value_and_grad(loss)(params, x[rows], y[rows])
            updates, state = optimizer.update(grad, state)
            return (optax.apply_updates(params, updates), state), value

        def epoch(carry, key):
            order = jax.random.permutation(key, case.n)
            full = case.n - case.n % batch_size
            carry, values = jax.lax.scan(update, carry, order[:full].reshape(-1, batch_size))
            if full < case.n:
                carry, _ = update(carry, order[full:])
            return carry, values.mean()

        start = params, optimizer.init(params)
        return jax.lax.scan(epoch, start, jax.random.split(key, case.epochs))[1][-1]

    jitted = jax.jit(run, static_argnums=0)
    return lambda b, rate, seed: float(jitted(b, rate, jax.random.key(seed)))


def torch_vmap(case: Case) -> Callable[[], int]:
    """Gradients of all runs of a batch size and seed by `torch.func`, batch by batch."""
    import torch

    x, y = map(torch.as_tensor, problem(case))
    rates, sizes, seeds = axes(case)
    steps = torch.tensor(rates)

    def loss(w, b, x, y):
        return torch.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y)

    grads = torch.func.vmap(torch.func.grad_and_value(loss, (0, 1)), (0, 0, None, None))

    def run(batch_size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        w, b = torch.zeros(len(rates), case.d), torch.zeros(len(rates))
        for _ in range(case.epochs):
            order = torch.randperm(case.n, generator=generator)
            for rows in order.split(batch_size):
                (dw, db), _ = grads(w, b, x[rows], y[rows])
                w, b = w - steps[:, None] * dw, b - steps * db

    def work() -> int:
        for batch_size, seed in product(sizes, seeds):
            run(batch_size, seed)
        return 1

    return work


def grid_search(case: Case) -> Callable[[], int]:
    """GridSearchCV of a perceptron without hidden layers, the one SGD there that takes batches."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = problem(case)
    rates, sizes, seeds = axes(case)
    every = np.arange(case.n)
    model = MLPClassifier((), solver="sgd", alpha=0, momentum=0, max_iter=case.epochs, tol=0)
    names = {"learning_rate_init": rates, "batch_size": sizes, "random_state": list(seeds)}
    search = GridSearchCV(model, names, cv=[(every, every)], refit=False, n_jobs=-1)

    def work() -> int:
        search.fit(x, y)
        return 1

    return work
