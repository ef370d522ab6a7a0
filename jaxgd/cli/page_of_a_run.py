"""The page of a run: how well, how it went, where it is wrong, what it has learned, from what."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxgd.cli.model_report import missing_rule
from jaxgd.cli.rows import Seen
from jaxgd.cli.terminal import figure
from jaxgd.figures.html_page import beside, page, table, text
from jaxgd.figures.svg_charts import about_line, bars, counts, curves
from jaxgd.tabular import Model
from jaxgd.tabular.linear_weights import coefficients

if TYPE_CHECKING:
    from jaxgd.cli.run_directory import Run

_MOST_POINTS, _MOST_BARS, _MOST_WEIGHTS, _MOST_LINES = 400, 16, 200, 200
_MOST_CLASSES = 12  # that a figure of counts has room for
_TENTHS = 10

_HELD_OUT = {"training": "training", "held_out": "held-out"}


class Tenth(NamedTuple):
    """A tenth of the rows by what is predicted: its means, and how many rows it has."""

    predicted: float
    found: float
    rows: int


def tenths(predicted: np.ndarray, found: np.ndarray) -> list[Tenth]:
    """The rows in ten parts of the same size, from the lowest predicted to the highest."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, _TENTHS) if len(part)]
    return [
        Tenth(
            float(predicted[part].mean(dtype=np.float64)),
            float(found[part].mean(dtype=np.float64)),
            len(part),
        )
        for part in parts
    ]


def calibration(model: Model, seen: Seen) -> tuple[str, list[Tenth]]:
    """What is predicted, and by tenths how it came out.

    The probability of the second of two classes, that of the class predicted of more, or a value.
    """
    target = model.schema.target
    if target.task == "regression":
        return target.name, tenths(seen.predicted, seen.y)
    if target.task == "binary":
        return f"probability of {target.classes[1]}", tenths(seen.predicted[:, 1], seen.y)
    right = seen.predicted.argmax(axis=1) == seen.y
    return "probability of the class predicted", tenths(seen.predicted.max(axis=1), right)


def loss_lines(runs: Mapping[str, "Run"]) -> dict[str, list[tuple[float, float]]]:
    """The losses after each epoch of some runs, by run and part."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, run in runs.items():
        begun = f"{name}, " if len(runs) > 1 else ""
        lines[f"{begun}training"] = [(float(epoch), loss) for epoch, loss, _ in run.history]
        if any(math.isfinite(after) for _, _, after in run.history):
            name = f"{begun}{judged_after(run)}"
            lines[name] = [(float(epoch), after) for epoch, _, after in run.history]
    return lines


def judged_after(run: "Run") -> str:
    """The rows whose loss is told after each epoch."""
    watched = run.metrics["watched"]
    return "training, afterwards" if watched == "training" else watched


def run_figures(run: "Run", model: Model, seen: Seen | None) -> dict[str, str]:
    """The figures of a run as SVG, by their names."""
    target = run.metrics["target"]
    made = {}
    if run.history:
        last = run.history[-1]
        made["losses"] = curves(
            loss_lines({run.name: run}),
            *("epochs", "loss"),
            f"Mean loss over {last[0]} epochs; at the end {_pair(run)}. The table has them.",
        )
    if seen is not None:
        where = f"{len(seen.y)} {seen.part} rows"
        classes = run.metrics.get("classes")
        if classes is not None and len(classes) <= _MOST_CLASSES:
            rows = [list(told["predicted"].values()) for told in classes.values()]
            right = sum(row[i] for i, row in enumerate(rows))
            told = f"As what the {where} of each class were predicted: {right} rightly."
            made["confusion"] = counts(list(classes), rows, told)
        if classes is None:
            every = max(1, math.ceil(len(seen.y) / _MOST_POINTS))
            errors = (seen.y - seen.predicted)[::every].tolist()
            made["residuals"] = about_line(
                list(zip(seen.predicted[::every].tolist(), errors, strict=True)),
                *(f"predicted {target}", "true less predicted"),
                f"Errors of {len(errors)} of the {where}, about zero, by what was predicted.",
                diagonal=False,
                joined=False,
            )
        what, parts = calibration(model, seen)
        made["calibration"] = about_line(
            [(tenth.predicted, tenth.found) for tenth in parts],
            *(f"predicted {what}", "found"),
            f"The {what}, predicted and found, by tenths of the {where}; on the line both agree.",
            diagonal=True,
            joined=True,
        )
    weights = _bars(model)
    if weights is not None:
        named, of = weights
        top = next(iter(named), "none")
        made["coefficients"] = bars(
            named, f"The {len(named)} largest coefficients of {of}; {top} has the largest."
        )
    return made


def run_page(run: "Run", model: Model, seen: Seen | None, figures: Mapping[str, str]) -> str:
    """The page."""
    told = run.metrics
    return page(
        f"{told['target']} from {told['source']}",
        [
            *_summary(run),
            *_losses(run, figures),
            *(_errors(run, model, seen, figures) if seen is not None else ()),
            *_learned(model, figures),
            *_data(run, model),
            *_settings(run),
        ],
        wide=True,
    )


def measures_rows(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    """The measures of each part and, under them, those of a constant."""
    for part, own in metrics["metrics"].items():
        yield [_HELD_OUT.get(part, part), *map(_shown, own.values())]
        yield ["constant prediction", *map(_shown, metrics["baseline"][part].values())]


def measures_names(metrics: Mapping[str, Any]) -> list[str]:
    """The names of the measures."""
    return [name.replace("_", " ") for name in next(iter(metrics["metrics"].values()))]


def _summary(run: "Run") -> Iterator[str]:
    told = run.metrics
    others = f", {told['held_out']} held out" if told["held_out"] else ""
    others += f", {told['set_aside']} to stop by" if told["set_aside"] else ""
    trained_on, kind = told["rows"] - told["held_out"] - told["set_aside"], told["model_kind"]
    yield (
        f"<p>{text(kind[0].upper() + kind[1:])} of {len(told['features'])} columns, trained on "
        f"{trained_on} rows{others}. {text(told['task'].capitalize())}: "
        f"{text(told['reason'])}. It stopped {text(told['why'])}.</p>"
    )
    yield "<h2>How well it predicts</h2>"
    names = measures_names(told)
    yield table("Measures, and those of a constant prediction", ["", *names], measures_rows(told))
    for remark in told["remarks"]:
        yield f"<p>Note: {text(remark)}</p>"


def _losses(run: "Run", figures: Mapping[str, str]) -> Iterator[str]:
    if "losses" not in figures:
        return
    yield "<h2>How it went</h2>"
    every = max(1, math.ceil(len(run.history) / _MOST_LINES))
    kept = run.history[::-1][::every][::-1]
    rows = [[epoch, _shown(loss), _shown(held)] for epoch, loss, held in kept]
    header = ["epochs", "training", judged_after(run)]
    weighed = ", as rows are weighed" if run.metrics["weighed"] else ""
    yield beside(
        figures["losses"],
        f"Mean loss{weighed}: of the training rows while they were seen, of the "
        f"{run.metrics['watched']} rows afterwards.",
        table("Losses after each epoch", header, rows),
    )


def _errors(run: "Run", model: Model, seen: Seen, figures: Mapping[str, str]) -> Iterator[str]:
    classes = run.metrics.get("classes")
    yield f"<h2>Where it is wrong, of the {seen.part} rows</h2>"
    if classes is not None:
        rows = [
            [name, told["rows"], _shown(told["precision"]), _shown(told["recall"])]
            for name, told in classes.items()
        ]
        header = ["class", "rows", "precision", "recall"]
        by_class = table("Precision and recall by class", header, rows)
        if "confusion" in figures:
            caption = "Rows are what is there, columns what was predicted."
            yield beside(figures["confusion"], caption, by_class)
        else:
            yield by_class
    else:
        cuts = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
        values = np.quantile(seen.y - seen.predicted, cuts).tolist()
        rows = [[f"{cut:.0%}", figure(value)] for cut, value in zip(cuts, values, strict=True)]
        yield beside(
            figures["residuals"],
            "Each row's true value less the predicted one. A curve or a funnel is something that "
            "the model has not learned.",
            table(
                "Errors: this part of the rows has at most", ["rows", "true less predicted"], rows
            ),
        )
    what, parts = calibration(model, seen)
    yield "<h2>Whether it is calibrated</h2>"
    yield beside(
        figures["calibration"],
        f"The {what} in ten groups of rows: on the line, what is predicted is what comes.",
        table(
            "By tenths of the rows",
            ["tenth", "predicted", "found", "rows"],
            [[i + 1, figure(t.predicted), figure(t.found), t.rows] for i, t in enumerate(parts)],
        ),
    )


def _bars(model: Model) -> tuple[dict[str, float], str] | None:
    """The largest coefficients of the one output, or of each feature the largest of all outputs."""
    found = coefficients(model)
    if found is None:
        return None
    largest = np.abs(found.weights).argmax(axis=1)
    named = {}
    for name, row, at in zip(found.features, found.weights, largest, strict=True):
        many = len(found.outputs) > 1
        named[f"{name} → {found.outputs[at]}" if many else name] = float(row[at])
    of = found.outputs[0] if len(found.outputs) == 1 else "any class"
    return dict(list(named.items())[:_MOST_BARS]), of


def _learned(model: Model, figures: Mapping[str, str]) -> Iterator[str]:
    found = coefficients(model)
    if found is None:
        return
    yield "<h2>What it has learned</h2>"
    rows = [
        [name, *map(figure, weights)]
        for name, weights in zip(found.features, found.weights.tolist(), strict=True)
    ]
    more = [f"The {_MOST_WEIGHTS} largest of {len(rows)}."] if len(rows) > _MOST_WEIGHTS else []
    rows = [*rows[:_MOST_WEIGHTS], ["intercept", *map(figure, found.intercept.tolist())]]
    header = ["feature", *(f"of {name}" for name in found.outputs)]
    yield beside(
        figures["coefficients"],
        "By how much the output moves with each feature, of amounts by their standard deviation.",
        table("Coefficients of the scaled features, the largest first", header, rows),
        *(f"<p>{told}</p>" for told in more),
    )


def _data(run: "Run", model: Model) -> Iterator[str]:
    yield "<h2>What it was given</h2>"
    rows = [[c.name, c.kind, len(c.features), missing_rule(c)] for c in model.schema.columns]
    given = table("Columns", ["column", "kind", "features", "missing values"], rows, names=4)
    dropped = run.metrics["dropped"].items()
    left = table("Columns that were dropped", ["column", "it"], dropped, names=2) if dropped else ""
    yield f'<div class="pair">{given}{left}</div>'


def _settings(run: "Run") -> Iterator[str]:
    yield "<h2>How to repeat it</h2>"
    yield "<p>In this directory: <code>jaxgd fit --config config.toml</code></p>"
    settings = [(name, setting_told(value)) for name, value in run.settings.items()]
    yield (
        f'<div class="pair">{table("Settings", ["option", "value"], settings, names=2)}'
        f"{table('Made with', ['what', 'which'], run.made.items(), names=2)}</div>"
    )


def setting_told(value: object) -> str:
    """A setting as it is written on the command line."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _shown(value: float | None) -> str:
    return figure(float("nan") if value is None else value)


def _pair(run: "Run") -> str:
    _, training, after = run.history[-1]
    after_told = "" if math.isnan(after) else f", {judged_after(run)} {figure(after)}"
    return f"training {figure(training)}{after_told}"
