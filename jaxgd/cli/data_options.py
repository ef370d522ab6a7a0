"""The options about data that the commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from jaxgd.arguments import Task

if TYPE_CHECKING:
    import jaxgd.tabular.dataset
    import jaxgd.tabular.table


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

    def check(self) -> None:
        """OSError for a file that cannot be opened: known before anything is imported."""
        if self.data is not None:
            self.data.open("rb").close()

    def table(self) -> "jaxgd.tabular.table.Table":
        """The table in the file, or the bundled one, which has the columns that are named."""
        self.check()
        from jaxgd.tabular.table import breast_cancer, read_table
        from jaxgd.tabular.target import target_name

        table = breast_cancer() if self.data is None else read_table(self.data)
        for name in (*self.ignore, target_name(table) if self.target is None else self.target):
            table.column(name)
        return table

    def prepare(
        self, table: "jaxgd.tabular.table.Table", key: Any
    ) -> "jaxgd.tabular.dataset.Dataset":
        """The table made ready to train on, its held-out rows drawn with the key."""
        from jaxgd.tabular.dataset import prepare

        return prepare(
            table,
            key=key,
            target=self.target,
            task=self.task,
            ignore=self.ignore,
            held_out=self.held_out,
            standardize=self.standardize,
        )
