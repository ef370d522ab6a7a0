"""A fit with checkpoints, for tests that kill it: `python -m tests.fitting.killed DIRECTORY`.

Prints the hash of what it ends with. `python -m tests.fitting.killed DIRECTORY KILLS` starts it,
kills it -9 at random moments so many times, and says whether the hash is the uninterrupted one.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def train(directory):
    """Forty epochs of an MLP, a checkpoint after every segment, resumed from what is there."""
    import jax
    import numpy as np

    import jaxgd
    from jaxgd import batches
    from tests.laws.test_one_hash import KEY, digest, training

    batches.SEGMENT_ROWS = 64
    loss, params, data, optimizer = training("MLP", "adam")

    def slowly(now):
        time.sleep(0.01)

    run = jaxgd.fit(
        loss,
        params,
        data,
        optimizer=optimizer,
        epochs=40,
        batch_size=7,
        key=KEY,
        validation=jax.tree.map(lambda leaf: leaf[:20], data),
        progress=slowly,
        checkpoint=directory,
        every=1,
        resume=True,
    )
    return digest(run.state, np.append(run.history.loss, run.history.validation_loss))


def start(directory):
    """The same in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fitting.killed", str(directory)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(directory, times, seed=0):
    """Kill it after checkpoints, at random moments, so many times at most; its hash, its kills."""
    moments, kills = random.Random(seed), 0
    while kills < times:
        with start(directory) as process:
            before = set(directory.glob("checkpoint-*"))
            while process.poll() is None and set(directory.glob("checkpoint-*")) == before:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.1))
            if process.poll() is not None:
                break  # it was through before it could be killed
            process.kill()
        kills += 1
    return finished(directory), kills


def finished(directory):
    """The hash that an undisturbed run ends with; RuntimeError with what it said if it fails."""
    with start(directory) as process:
        out, error = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(error)
    return out.strip()


def main(base, times):
    """So many kills, in as many runs as it takes."""
    whole, kills, runs, same = finished(base / "whole"), 0, 0, 0
    while kills < times:
        found, done = kill(base / str(runs), min(5, times - kills), seed=runs)
        kills, runs, same = kills + done, runs + 1, same + (found == whole)
    print(f"{kills} kills in {runs} runs: {same} of them ended in the uninterrupted hash")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(train(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]))
