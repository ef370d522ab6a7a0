"""How often a diagnosis reads what was recorded: each stage of each update once."""

from collections import Counter

import numpy as np

from jaxgd.equivalence import Recipe, Update, diagnose


class Counted:
    """An array that counts how often it is turned into NumPy, as one on a device would be."""

    def __init__(self, array, name, reads):
        self.array, self.name, self.reads = array, name, reads

    def __array__(self, dtype=None, copy=None):
        self.reads[self.name] += 1
        return self.array


def recorded(rate, reads, side, updates=20):
    rng = np.random.default_rng(0)
    w, recording = rng.normal(size=6), []
    for t in range(updates):
        gradient, batch = rng.normal(size=6), rng.normal(size=(4, 3))
        updated = w - rate * gradient
        stages = {
            "params": w, "gradient": gradient, "updated": updated, "batch": batch,
            "outputs": batch[:, :1], "loss": np.asarray(batch.sum()),
        }  # fmt: skip
        recording.append(
            Update(**{n: {"w": Counted(a, (side, n, t), reads)} for n, a in stages.items()})
        )
        w = updated
    return recording


def test_each_recorded_array_is_read_once():
    reads = Counter()
    actual, expected = recorded(0.11, reads, "actual"), recorded(0.1, reads, "expected")
    found = diagnose(actual, expected, Recipe("sgd", lr=0.1))
    assert found.cause == "the learning rate is 1.1 times as large"
    assert set(reads.values()) == {1}
    assert len(reads) == 2 * 20 * 6
