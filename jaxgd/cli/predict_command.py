"""`jaxgd predict`: a saved model applied to a table."""

from pathlib import Path

from tyro.conf import Positional

from jaxgd.cli.data_options import STDIN
from jaxgd.cli.table_files import STDOUT, check_table_file, make_table_room, put_table


def predict(
    model: Positional[Path],
    data: Positional[Path],
    *,
    out: Path = Path("predictions.csv"),
    encoding: str | None = None,
    force: bool = False,
) -> None:
    """Write a saved model's prediction for every row of a table.

    A class and the probability of each, or a value; before them the column that `jaxgd fit` was
    told of as `--id`, where the table has it. The table's columns are found by name, in any order;
    columns that the model does not know are ignored.

    Args:
        model: File that `jaxgd fit` saved.
        data: CSV, Parquet, Arrow, JSON-lines or NPZ file, or - for standard input.
        out: Where the predictions go: a .csv, .parquet or .jsonl file, or - for standard output.
        encoding: How a CSV is written, where that is neither UTF-8 nor marked, such as cp1252.
        force: Replace a file that is there.
    """
    inputs = [model] if data == STDIN else [model, data]
    check_table_file(out, "--out", force, *inputs)
    for given in inputs:
        given.open("rb").close()  # a missing file is told before anything is imported

    from jaxgd.cli.predictions import predictions_file
    from jaxgd.cli.terminal import console
    from jaxgd.tabular import load_model, read_table

    loaded = load_model(model)
    id = loaded.schema.id
    kinds = loaded.schema.kinds | ({} if id is None else {id: "category"})  # its zeros are kept
    table = read_table(data, encoding=encoding, kinds=kinds)
    ids = None if id not in table.names else (id, table.column(id))
    make_table_room(out)
    target = loaded.schema.target
    put_table(out, predictions_file(target, loaded.predict(table), out, ids))
    if out != STDOUT:
        console().print(f"{len(table)} predictions of {target.name}: {out}", soft_wrap=True)
