"""The options of a fit by several processes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from jaxgd.cli.wording import in_options

if TYPE_CHECKING:
    import jax.sharding


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

    def joined(self, saves: bool) -> "jax.sharding.Mesh | None":
        """The mesh of all devices of all processes, once they have joined; None for this one."""
        if not self.distributed:
            return None
        import jax

        from jaxgd.scale.hosts import REMEDY, join, say_at_the_end

        say_at_the_end(in_options(REMEDY) if saves else "Start all of them again.")
        join(self.coordinator, self.processes, self.process, timeout=self.timeout)
        return jax.make_mesh((jax.device_count(),), ("data",))


_NONE = HostOptions()
