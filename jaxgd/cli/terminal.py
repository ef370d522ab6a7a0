"""What the commands show: one style of table, one progress bar, one line about the data."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jaxgd.fitting import Progressed
from jaxgd.fitting.progress import Progress as Report
from jaxgd.tabular import Dataset, Schema

if TYPE_CHECKING:
    from jaxgd.study import Advanced


class _Screen(Console):
    """A console that cuts no figure, and leaves a broken pipe to the command's entry."""

    def show(self, grid: Table) -> None:
        """Print a table: on a narrow screen columns come closer and names go over several lines.

        No word is cut, however narrow it is.
        """
        for column in grid.columns:
            texts = map(str, (column.header, *column.cells))
            column.min_width = max(len(word) for text in texts for word in [*text.split(), ""])
        words, columns = sum(column.min_width or 0 for column in grid.columns), len(grid.columns)
        least = words + 3 * columns - 1
        if least > self.width:
            grid.padding, least = 0, words + columns + 1
        self.print(grid, width=max(self.width, least), crop=False)

    def on_broken_pipe(self) -> None:
        raise


def console() -> _Screen:
    """Standard output, its lines never cut in the middle of a name or coloured by guesswork."""
    return _Screen(highlight=False, soft_wrap=False)


def numbers_table(first: str, *columns: str) -> Table:
    """An empty table: a column of names, then columns of numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right", vertical="bottom")
    return table


def figure(value: float) -> str:
    """A number in four significant digits, zeros at its end included: 0.9000, 1.234e-05.

    A dash where it is not defined.
    """
    return "–" if math.isnan(value) else f"{value:#.4g}".rstrip(".")


def described(source: str, dataset: Dataset) -> str:
    """Two lines that say what is learned from what."""
    held = 0 if dataset.held_out is None else len(dataset.held_out.y)
    rows = len(dataset.train.y), held, 0
    return described_rows(source, dataset.schema, rows, dataset.train.x.dtype)


def described_rows(source: str, schema: Schema, rows: tuple[int, int, int], dtype: Any) -> str:
    """Two lines that say what is learned from what.

    Of so many rows trained on, held out, and set aside to stop by.
    """
    n, held, aside = rows
    others = f", {held} held out" if held else ""
    others += f", {aside} to stop by" if aside else ""
    return (
        f"{source}: {n} rows to train on{others}\n{described_target(schema)}, computed in {dtype}"
    )


def described_target(schema: Schema) -> str:
    """What is learned from how many features."""
    target = schema.target
    classes = f" ({' or '.join(target.classes)})" if target.task == "binary" else ""
    if target.task == "multiclass":
        classes = f" ({len(target.classes)} classes)"
    return f"{target.name}{classes} from {len(schema.features)} features"


def show_next(commands: Mapping[str, str], files: Mapping[str, Path]) -> None:
    """The last lines: what was written, and the commands to run next, by what they do."""
    screen = console()
    screen.print(f"written: {', '.join(map(str, files.values()))}", soft_wrap=True)
    for name, command in commands.items():
        screen.print(f"{name}: {command}", soft_wrap=True)


@contextmanager
def progress_bar(name: str, judged: str = "held-out") -> Iterator[Report]:
    """What `fit` reports to, drawn as a bar on standard error while the run lasts.

    `judged` are the rows whose loss is told after each epoch.

    Nothing is drawn where standard error is no terminal.
    """
    with _bar(name) as move:

        def report(now: Progressed) -> None:
            after = "" if now.validation_loss is None else f", {judged} {now.validation_loss:.4g}"
            line = f"epoch {now.epoch}/{now.epochs}, loss {now.loss:.4g}{after}"
            move(now.epoch, now.epochs, line)

        yield report


@contextmanager
def runs_bar(name: str) -> Iterator[Callable[["Advanced"], None]]:
    """What a study of many runs reports to, drawn in the same way."""
    with _bar(name) as move:
        yield lambda now: move(now.done, now.total, f"{now.done} of {now.total} epochs")


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int, str], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[now]}"),
        TimeRemainingColumn(),
    )
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(name, total=None, now="compiling")
        yield lambda done, total, now: bar.update(task, total=total, completed=done, now=now)
