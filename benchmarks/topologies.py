"""The devices of accelerators that are not here: programs can be compiled for them, and not run.

TPUs are described by libtpu, NVIDIA's by their public numbers here, handed to the compiler of JAX's
CUDA plugin. Both are packages to install on purpose: see `missing`.
"""

import os
import re
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from jax.experimental import topologies

KIB, GIB = 2**10, 2**30


class Gpu(NamedTuple):
    """What XLA's compiler asks of a GPU, in bytes, bytes a second and GHz."""

    name: str
    capability: tuple[int, int]
    extension: str  # instructions of this capability alone
    cores: int
    units_per_core: int
    shared_memory: int
    bandwidth: int
    cache: int
    clock: float
    memory: int


GPUS = {
    "A100": Gpu(
        *("NVIDIA A100-SXM4-80GB", (8, 0), "NONE", 108, 64),
        *(164 * KIB, 2_039_000_000_000, 40 * KIB**2, 1.41, 80 * GIB),
    ),
    "H100": Gpu(
        *("NVIDIA H100 80GB HBM3", (9, 0), "ACCELERATED_FEATURES", 132, 128),
        *(228 * KIB, 3_352_000_000_000, 50 * KIB**2, 1.98, 80 * GIB),
    ),
    "B200": Gpu(
        *("NVIDIA B200", (10, 0), "ACCELERATED_FEATURES", 148, 128),
        *(228 * KIB, 7_672_000_000_000, 126 * KIB**2, 1.965, 178 * GIB),
    ),
}
ONE_CHIP = {"chips_per_host_bounds": (1, 1, 1)}
TPUS: dict[str, tuple[str, dict[str, Any]]] = {
    "v5e": ("v5e:1x1", ONE_CHIP),
    "4xv5e": ("v5e:2x2", {}),
    "256xv5e": ("v5e:16x16", {}),
    "v5p": ("v5p:1x1x1", ONE_CHIP),
    "v6e": ("v6e:1x1", ONE_CHIP),
    "TPU7x": ("TPU7x:1x1x1", ONE_CHIP),
}
NVIDIA = (*GPUS, "8xH100")
TARGETS = (*TPUS, *NVIDIA)

# Kept from asking the cloud's metadata server which TPU this is.
ALONE = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


def missing(target: str) -> str | None:
    """What to install to compile for a target, or None where it is here."""
    if target in TPUS:
        return None if find_spec("libtpu") else "jax[tpu], whose licence is not open"
    here = all(map(find_spec, ("jax_cuda13_plugin", "nvidia"))) and find_spec("nvidia.cu13")
    return None if here else "jaxgd[accelerators-nvidia]"


@cache
def devices(target: str) -> tuple[Any, ...]:
    """The devices of a target, one of `TARGETS`.

    Raises ValueError for other names, and ImportError where its compiler is not installed.
    """
    if target not in TARGETS:
        raise ValueError(
            f"target must be one of {', '.join(TARGETS)}; got {target!r}. Write it so."
        )
    if absent := missing(target):
        raise ImportError(f"Compiling for {target} needs {absent}. Install it.")
    if target in TPUS:
        name, options = TPUS[target]
        os.environ.update(ALONE)
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
        return tuple(found[: chips(target)])
    described = topologies.get_topology_desc(
        platform="cuda",
        target_config=_description(GPUS[target.removeprefix("8x")]),
        topology=f"1x1x{chips(target)}",
    )
    return tuple(described.devices)


def chips(target: str) -> int:
    """How many chips a target has, of each of which one device is taken."""
    count = re.match(r"(\d+)x", target)
    return int(count[1]) if count else 1


def _description(gpu: Gpu) -> str:
    """The GpuTargetConfigProto of a GPU, as text."""
    major, minor = gpu.capability
    return f"""
gpu_device_info {{
  name: "{gpu.name}"
  cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {gpu.extension} }}
  core_count: {gpu.cores}
  fpus_per_core: {gpu.units_per_core}
  clock_rate_ghz: {gpu.clock}
  memory_bandwidth: {gpu.bandwidth}
  device_memory_size: {gpu.memory}
  l2_cache_size: {gpu.cache}
  shared_memory_per_core: {gpu.shared_memory}
  shared_memory_per_block: {48 * KIB}
  shared_memory_per_block_optin: {gpu.shared_memory - KIB}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{gpu.name}"
"""
