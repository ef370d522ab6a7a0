"""The options of a fit by several processes, and the rows that this one reads for it."""

from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float
from tyro.conf import arg

from jaxgd.cli.wording import in_options
from jaxgd.scale.agreement import Processes
from jaxgd.scale.hosts import REMEDY, join, say_at_the_end
from jaxgd.scale.placement import SHARDS, own_rows, padded


@dataclass(frozen=True)
class HostOptions:
    """With whom to train."""

    distributed: bool = False
    """Train with other processes: each is started with this option, on one host or many."""
    coordinator: Annotated[str | None, arg(metavar="HOST:PORT")] = None
    """Where process 0 is; by default as SLURM, a TPU pod, Open MPI or Kubernetes tell."""
    processes: int | None = None
    """How many they are, with --coordinator."""
    process: int | None = None
    """Which of them this is, from 0, with --coordinator."""
    timeout: int = 60
    """Seconds after which a process that does not come or answer ends the others."""
    deterministic: bool = False
    """Add up in a fixed order: the same model on 1, 2, 4 or 8 devices, to the bit."""

    def check(self) -> None:
        """ValueError for options that need --distributed, without it."""
        given = [f"--{name}" for name, value in vars(self).items() if value != getattr(_NONE, name)]
        if given and not self.distributed:
            raise ValueError(
                f"{given[0]} is of a fit by several processes; got no --distributed. Give both."
            )

    def joined(self, saves: bool) -> Mesh | None:
        """The mesh of all devices of all processes, once they have joined; None for this one."""
        if not self.distributed:
            return None
        say_at_the_end(in_options(REMEDY) if saves else "Start all of them again.")
        join(self.coordinator, self.processes, self.process, timeout=self.timeout)
        return jax.make_mesh((jax.device_count(),), ("data",))


_NONE = HostOptions()


@dataclass(frozen=True)
class Sharing:
    """How rows are shared between the processes of a mesh, and reduced over all of them."""

    mesh: Mesh

    @property
    def processes(self) -> Processes:
        """Those that share."""
        return Processes(self.mesh)

    def own(self, n: int) -> np.ndarray:
        """The numbers of those of n rows that are this process's."""
        return own_rows(n, self.mesh)

    def total(self, x: Float[np.ndarray, "m d"], n: int) -> Float[np.ndarray, "d"]:
        """Σ over all n rows: by the shards of the deterministic mode, whoever holds them."""
        shard = self.own(n) // (padded(n, self.mesh) // SHARDS)
        sums = np.zeros((SHARDS, x.shape[1]))
        for i in np.unique(shard):
            sums[i] = x[shard == i].sum(axis=0)
        return self.processes.gathered(sums).sum(axis=0).sum(axis=0)

    def most(self, x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "d"]:
        """The largest over all rows."""
        return self.processes.gathered(x.max(axis=0)).max(axis=0)

    def mean(self, values: dict[str, float], own: int, n: int) -> dict[str, float]:
        """Means over this process's `own` rows, made those over all n."""
        told = self.processes.gathered(np.array([*values.values()]) * own)
        return dict(zip(values, (told.sum(axis=0) / n).tolist(), strict=True))
