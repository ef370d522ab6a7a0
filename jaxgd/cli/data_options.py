"""The options about data that the commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxtyping import Array
from tyro.conf import Positional, arg

from jaxgd.tabular import Dataset, Table, Task, breast_cancer, prepare, read_table


@dataclass(frozen=True)
class DataOptions:
    """What to learn from what."""

    data: Positional[Annotated[Path | None, arg(metavar="[DATA]")]] = None
    """CSV, Parquet or NPZ file; by default scikit-learn's breast-cancer table."""
    target: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column to predict; by default the one named target, label, class or y."""
    task: Task | None = None
    """Kind of target; by default found from its values."""
    ignore: Annotated[tuple[str, ...], arg(metavar="COLUMN …")] = ()
    """Columns to leave out."""
    held_out: float = 0.2
    """Part of the rows that is kept from training, in [0, 1)."""
    standardize: bool = True
    """Bring features to mean 0 and standard deviation 1, as measured on the training rows."""

    def words(self) -> list[str]:
        """These options as the words of a command, but for those that are as usual."""
        words = [] if self.data is None else [str(self.data)]
        words += [] if self.target is None else ["--target", self.target]
        words += [] if self.task is None else ["--task", self.task]
        words += ["--ignore", *self.ignore] if self.ignore else []
        usual = self.held_out == DataOptions.held_out
        words += [] if usual else ["--held-out", str(self.held_out)]
        return words + ([] if self.standardize else ["--no-standardize"])

    def table(self) -> Table:
        """The table in the file, or the bundled one."""
        return breast_cancer() if self.data is None else read_table(self.data)

    def prepare(self, table: Table, key: Array) -> Dataset:
        """The table made ready to train on."""
        return prepare(
            table,
            key=key,
            target=self.target,
            task=self.task,
            ignore=self.ignore,
            held_out=self.held_out,
            standardize=self.standardize,
        )
