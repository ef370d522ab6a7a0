"""The lesson's four pictures: what noise does to a descent, and where a learning rate diverges.

`python examples/lesson_pictures.py docs` also writes them, as PNG files, to the folder docs.

Prints:
    paths: GD 20, SGD 11380, mini-batch 360 updates from (0, 0)
    GD diverges from a learning rate of 0.0759 on, heavy ball from 0.144 on, Nesterov from 0.0511 on
    theory: 0.0753, 0.143, 0.0511
    GD's sharpness settles at 2.0 of the 2 / learning rate that it may be
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_breast_cancer

import jaxgd
from jaxgd.figures.curves import as_png
from jaxgd.figures.limits import curves_and_limits
from jaxgd.figures.panels import loss_against
from jaxgd.figures.surface import paths_over_surface
from jaxgd.study import largest_stable_rate, loss_surface, sharpness, stability

x, y = load_breast_cancer(return_X_y=True)
x, y = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(y, jnp.float32)
key = jax.random.key(0)
pictures = {}

# One neuron and one feature: a weight and a bias, and the same rate for all three descents.

loss = jaxgd.supervised(jaxgd.linear, jaxgd.binary_cross_entropy_with_logits)
one = x[:, :1], y
start = jaxgd.init_linear(1)
found = stability(loss, start, one, optimizer=optax.sgd(0.5), epochs=20, key=key)
paths = dict(zip(("GD", "SGD", "mini-batch"), found, strict=True))
told = ", ".join(f"{name} {len(path.path) - 1}" for name, path in paths.items())
print(f"paths: {told} updates from (0, 0)")

w, b = jnp.linspace(-6, 1, 71), jnp.linspace(-1.4, 2.6, 61)
surface = loss_surface(loss, one, lambda w, b: jaxgd.Linear(w[None], b), w, b)
pictures["paths"] = paths_over_surface(
    np.asarray(w),
    np.asarray(b),
    np.asarray(surface),
    {f"{name}: {len(path.path) - 1} updates": path.path for name, path in paths.items()},
    title="20 epochs at a learning rate of 0.5",
)
pictures["costs"] = loss_against(
    {name: path.losses for name, path in paths.items()},
    {name: path.spent() for name, path in paths.items()},
    title="The same 20 epochs by what they cost",
)

# A linear model of all features and a squared error: its sharpness is the same everywhere.

squared = jaxgd.supervised(jaxgd.linear, jaxgd.squared_error)
optimizers = {
    "GD": (optax.sgd, {}),
    "heavy ball": (partial(optax.sgd, momentum=0.9), {"momentum": 0.9}),
    "Nesterov": (
        partial(optax.sgd, momentum=0.9, nesterov=True),
        {"momentum": 0.9, "nesterov": True},
    ),
}
rates = jnp.geomspace(0.02, 0.3, 200)


def end_of_run(optimizer, rate):
    """The loss before the last of 300 updates at this rate."""
    run = jaxgd.train(jaxgd.gd(squared, optimizer(rate)), epochs=300, order=None)
    return run(jaxgd.init_state(jaxgd.init_linear(30), optimizer(rate)), (x, y))[1][-1, 0]


bend = sharpness(jaxgd.mean(squared), jaxgd.init_linear(30), (x, y)).value
ends, limits = {}, {}
for name, (optimizer, settings) in optimizers.items():
    ends[name] = rates, jax.jit(jax.vmap(partial(end_of_run, optimizer)))(rates)
    limits[name] = float(largest_stable_rate(bend, **settings))
begin = jaxgd.mean(squared)(jaxgd.init_linear(30), (x, y))
first = {name: float(rates[jnp.argmin(end <= begin)]) for name, (_, end) in ends.items()}
told = ", ".join(f"{name} from {rate:.3g} on" for name, rate in first.items())
print(f"GD diverges from a learning rate of {told.removeprefix('GD from ')}")
print("theory:", ", ".join(f"{rate:.3g}" for rate in limits.values()))
pictures["rates"] = curves_and_limits(
    ends,
    limits,
    of="x",
    title="Squared error after 300 updates, and where theory has it diverge",
    labels=("learning rate", "training loss"),
    ylim=(0.04, 100),
)

# A network: full-batch descent sharpens until 2 / learning rate stops it; batches keep it below.

network = jaxgd.supervised(lambda p, x: jaxgd.mlp(p, x)[0], jaxgd.squared_error)
net, labels, rate = jaxgd.init_mlp(jax.random.key(1), (30, 16, 1)), 2 * y - 1, 0.25
options = {"optimizer": optax.sgd(rate), "key": key, "timed": False}
(gd,) = stability(network, net, (x, labels), epochs=800, batch_sizes=(None,), **options)
(batches,) = stability(network, net, (x, labels), epochs=44, batch_sizes=(32,), **options)
settled = np.median(gd.sharpness[-300:]) * rate
print(f"GD's sharpness settles at {settled:.1f} of the 2 / learning rate that it may be")
pictures["sharpness"] = curves_and_limits(
    {
        name: (path.spent()["updates"][1:], path.sharpness[1:])
        for name, path in {"GD": gd, "mini-batch of 32": batches}.items()
    },
    {"2 / learning rate": 2 / rate},
    of="y",
    title=f"Sharpness of a network over training at a learning rate of {rate}",
    labels=("updates", "sharpness"),
    ylim=(4, 12),
)

for name, figure in pictures.items():
    if len(sys.argv) > 1:
        Path(sys.argv[1], f"lesson-{name}.png").write_bytes(as_png(figure))
