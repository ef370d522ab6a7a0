"""`python -m benchmarks.hosts`: what a border costs a fit by several processes over loopback."""

import os
import socket
import subprocess
import sys
import time

import jax
import numpy as np

CALLS = 300
PROCESSES = (2, 4)


def measured() -> str:
    """The shortest of all borders' agreements, and the median, in milliseconds."""
    from jaxgd.scale.agreement import Processes

    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    processes = Processes(mesh)
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        processes.gathered(np.array(0))
        times.append(1e3 * (time.perf_counter() - began))
    return f"min {min(times):.2f} ms, median {np.median(times):.2f} ms"


def main() -> None:
    """A line for each number of processes."""
    for count in PROCESSES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        words = [sys.executable, "-m", "benchmarks.hosts", address, str(count)]
        started = [
            subprocess.Popen(
                [*words, str(i)], stdout=subprocess.PIPE, text=True, env=os.environ | _ONE_DEVICE
            )
            for i in range(count)
        ]
        told = [process.communicate()[0].splitlines()[-1] for process in started]
        print(f"{count} processes: {told[0]}")


_ONE_DEVICE = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        from jaxgd.scale import join

        join(sys.argv[1], *map(int, sys.argv[2:]))
        print(measured())
