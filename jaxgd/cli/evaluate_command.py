"""`jaxgd evaluate`: how well a saved model predicts a table whose target is known."""

from pathlib import Path

from tyro.conf import Positional

from jaxgd.cli.data_options import STDIN


def evaluate(
    model: Positional[Path],
    data: Positional[Path],
    *,
    encoding: str | None = None,
    json: bool = False,
) -> None:
    """Say how well a saved model predicts the rows of a table whose target is known.

    Below the measures are those of the best constant prediction for these very rows, and of classes
    a table of each. Rows that the model was trained on flatter it. The exit status is 0 however
    well it does, and 2 after an error.

    Args:
        model: File that `jaxgd fit` saved.
        data: CSV, Parquet, Arrow, JSON-lines or NPZ file, or - for standard input.
        encoding: How a CSV is written, where that is neither UTF-8 nor marked, such as cp1252.
        json: Print what was found as JSON, and nothing else.
    """
    for given in [model] if data == STDIN else [model, data]:
        given.open("rb").close()  # a missing file is told before anything is imported

    from jaxgd.cli.as_json import as_text
    from jaxgd.cli.measures_report import Measured, measures_as_json, measures_tables
    from jaxgd.cli.terminal import console, described_target
    from jaxgd.tabular import load_model, read_table

    loaded = load_model(model)
    target = loaded.schema.target
    table = read_table(data, encoding=encoding, kinds=loaded.schema.kinds | target.kinds)
    part = loaded.labelled(table)
    found, classes = loaded.measures(part)
    measured: Measured = (found, loaded.constant_measures(part.y, part.y), classes)
    if json:
        told = measures_as_json(target, {"rows": measured})
        whole = {name: told[name]["rows"] for name in ("metrics", "baseline")}
        about = {"task": target.task, "target": target.name, "rows": len(table), "model": model}
        print(as_text(about | told | whole))
        return
    screen = console()
    screen.print(f"{table.source}: {len(table)} rows", soft_wrap=True)
    screen.print(described_target(loaded.schema), soft_wrap=True)
    for grid in measures_tables(target, {"all rows": measured}):
        screen.show(grid)
