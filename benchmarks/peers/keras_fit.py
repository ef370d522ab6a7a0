"""Keras 3 on its JAX backend: `Model.fit`, 64 steps an execution."""

import os
from collections.abc import Callable

from benchmarks.cases import LEARNING_RATE, Case, problem

os.environ["KERAS_BACKEND"] = "jax"


def run(case: Case) -> Callable[[], int]:
    import keras

    x, y = problem(case)
    model = keras.Sequential([keras.Input((case.d,)), keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE),
        keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=64,
    )

    def work() -> int:
        model.fit(x, y, batch_size=case.batch, epochs=case.epochs, shuffle=True, verbose=0)
        return case.epochs * -(-case.n // case.batch)

    return work
