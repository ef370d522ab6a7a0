"""`python -m tests.scale.processes`: the hashes of deterministic runs on 1, 2 and 4 processes."""

import hashlib
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import numpy as np
import optax

import jaxgd
from jaxgd.scale import data_parallel, on_mesh, spread
from tests.laws.problem import KEY, data, loss, start

ROOT = Path(__file__).parents[2]
DEVICES, EPOCHS = 4, 2
MOMENTUM = optax.sgd(0.1, momentum=0.9, nesterov=True)
PLACE = {"whole": on_mesh, "owned": spread}
PROCESS = """
import sys, jax
port, processes, own, devices, b = map(int, sys.argv[1:])
address = f"127.0.0.1:{port}"
jax.config.update("jax_num_cpu_devices", devices // processes)
jax.distributed.initialize(
    address, processes, own, coordinator_bind_address=address, initialization_timeout=60
)
from tests.scale.processes import digest
print(digest(b or None, "owned", 61, devices))
"""


def mesh(devices):
    return jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])


@cache
def digest(b, rows, n, devices, deterministic=True):
    """The hash of all bits that a run on so many devices ends with."""
    here = mesh(devices)
    epoch = data_parallel(loss, MOMENTUM, b, here, rows=rows, deterministic=deterministic)
    state, table = on_mesh(start(MOMENTUM), here), PLACE[rows](data(n), here)
    ended = jax.jit(jaxgd.train(epoch, EPOCHS))(state, table, KEY)
    bits = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(ended))
    return hashlib.sha256(bits).hexdigest()


def digests(b, processes):
    """The hash that each of so many processes ends with, four devices between them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    numbers = [[port, processes, own, DEVICES, b or 0] for own in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *map(str, one)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in numbers
    ]
    try:
        done = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert all(process.returncode == 0 for process in started), done
    return [told.splitlines()[-1] for told, _ in done]  # above it gloo tells who is connected


if __name__ == "__main__":
    for size in (None, 20):
        for number in (1, 2, 4):
            print("gd" if size is None else f"b = {size}", number, *set(digests(size, number)))
