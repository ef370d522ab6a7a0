"""What a run leaves in its directory, besides checkpoints, to be read months later."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxgd.cli.as_json import as_text
from jaxgd.cli.config_file import read_config
from jaxgd.cli.page_of_a_run import run_figures, run_page
from jaxgd.cli.rows import Seen
from jaxgd.cli.run_files import CONFIG, FIGURES, METRICS, MODEL, REPORT
from jaxgd.fitting.history_file import HISTORY
from jaxgd.storage.verified_file import write_atomically
from jaxgd.tabular import Model, save_model


class Run(NamedTuple):
    """A run as its directory tells of it.

    `settings` are the options of the fit, `made` its versions and data; `metrics` is what `jaxgd
    fit --json` prints; `history` has the epochs done, the training loss of the last and the loss of
    the rows that `metrics["watched"]` names (NaN for none) after each epoch.
    """

    name: str
    settings: dict[str, Any]
    made: dict[str, Any]
    metrics: dict[str, Any]
    history: list[tuple[int, float, float]]


def write_run(
    directory: Path, config: str, told: Mapping[str, Any], model: Model, seen: Seen | None
) -> None:
    """Write the config, the metrics, the model, the figures, and last the page about them.

    Each is written whole, or stays as it was. The page tells what the other files hold.
    """
    save_model(directory / MODEL, model)
    write_atomically(directory / CONFIG, config.encode())
    write_atomically(directory / METRICS, f"{as_text(told)}\n".encode())
    run = read_run(directory)
    figures = run_figures(run, model, seen)
    (directory / FIGURES).mkdir(exist_ok=True)
    for name, figure in figures.items():
        write_atomically(directory / FIGURES / f"{name}.svg", f"{figure}\n".encode())
    write_atomically(directory / REPORT, run_page(run, model, seen, figures).encode())


def read_run(directory: Path) -> Run:
    """The run in a directory; OSError or ValueError where there is none."""
    settings, made = read_config(directory / CONFIG)
    try:
        metrics = json.loads((directory / METRICS).read_bytes())
        lines = (directory / HISTORY).read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        history = [
            (entry["epoch"], _number(entry["loss"]), _number(entry["validation_loss"]))
            for entry in entries
            if entry["update"] == 0
        ]
        if not isinstance(metrics["metrics"], dict) or not isinstance(metrics["watched"], str):
            raise TypeError("metrics")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{directory} holds no run of this jaxgd: its {METRICS} or {HISTORY} is of another "
            f"form ({error})."
        ) from None
    return Run(directory.name or str(directory), settings, made, metrics, history)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
