"""How rows are shared between the processes of a fit, and what each has is added up."""

from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from jaxgd.scale.agreement import Processes
from jaxgd.scale.placement import SHARDS, own_rows, padded


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
