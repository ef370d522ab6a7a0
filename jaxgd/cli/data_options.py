"""The options about data that the commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from tyro.conf import Positional, arg

from jaxgd.arguments import Task

if TYPE_CHECKING:
    import jaxgd.tabular.dataset
    import jaxgd.tabular.table


STDIN = Path("-")


class Weights(NamedTuple):
    """What rows count: by their class, and as a column says."""

    by_class: Literal["balanced"] | None = None
    column: str | None = None


_ALIKE = Weights()


@dataclass(frozen=True)
class DataOptions:
    """What to learn from what."""

    data: Positional[Annotated[Path | None, arg(metavar="[DATA]")]] = None
    """CSV, Parquet, Arrow, JSON-lines or NPZ file, or - for standard input; by default
    scikit-learn's breast-cancer table."""
    target: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column to predict; by default the one named target, label, class or y."""
    task: Task | None = None
    """Kind of target; by default found from its values."""
    ignore: Annotated[tuple[str, ...], arg(metavar="COLUMN …")] = ()
    """Columns to leave out."""
    id: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column that names the rows and is no feature."""
    encoding: str | None = None
    """Of a CSV that is not in UTF-8 or UTF-16, such as latin-1."""
    group: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column of groups, such as patients: each is trained on or held out as a whole."""
    time: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column of dates or numbers: the latest rows are held out."""
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
        words += [] if self.id is None else ["--id", self.id]
        for name in ("encoding", "group", "time"):
            told = getattr(self, name)
            words += [] if told is None else [f"--{name}", told]
        usual = self.held_out == DataOptions.held_out
        words += [] if usual else ["--held-out", str(self.held_out)]
        return words + ([] if self.standardize else ["--no-standardize"])

    def files(self) -> list[Path]:
        """The file that is read, if one is."""
        return [] if self.data is None or self.data == STDIN else [self.data]

    def check(self) -> None:
        """OSError for a file that cannot be opened: known before anything is imported."""
        for file in self.files():
            file.open("rb").close()

    def table(self) -> "jaxgd.tabular.table.Table":
        """The table in the file, or the bundled one, which has the columns that are named."""
        self.check()
        from jaxgd.tabular.bundled import breast_cancer
        from jaxgd.tabular.reading import read_table
        from jaxgd.tabular.target import target_name

        table = (
            breast_cancer() if self.data is None else read_table(self.data, encoding=self.encoding)
        )
        target = target_name(table) if self.target is None else self.target
        for name in (*self.ignore, target, self.id, self.group, self.time):
            if name is not None and name not in table.names:
                raise table.no_column(name)
        return table

    def prepare(
        self,
        table: "jaxgd.tabular.table.Table",
        key: Any,
        weights: Weights = _ALIKE,
        valid: float = 0.0,
    ) -> "jaxgd.tabular.dataset.Dataset":
        """The table made ready to train on, its held-out rows drawn with the key.

        Of the others a part may be set aside as `valid`.
        """
        from jaxgd.tabular.dataset import prepare

        return prepare(
            table,
            key=key,
            target=self.target,
            task=self.task,
            ignore=self.ignore,
            id=self.id,
            held_out=self.held_out,
            group=self.group,
            time=self.time,
            valid=valid,
            standardize=self.standardize,
            class_weight=weights.by_class,
            sample_weight=weights.column,
        )
