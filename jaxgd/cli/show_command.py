"""`jaxgd show`: what a saved model is."""

from pathlib import Path

from tyro.conf import Positional


def show(model: Positional[Path], *, json: bool = False) -> None:
    """Say what a saved model needs of a table, how it was trained, and what it has learned.

    Of each column its kind, what of it is a feature, what is done where a value is missing, and by
    which mean and scale it is standardised; of a linear model the coefficients of the scaled
    features, the largest first.

    Args:
        model: File that `jaxgd fit` saved.
        json: Print all of it as JSON, and nothing else.
    """
    model.open("rb").close()  # a missing file is told before anything is imported

    from jaxgd.cli import model_report as report
    from jaxgd.cli.as_json import as_text
    from jaxgd.cli.terminal import console, described_target
    from jaxgd.tabular import load_model

    loaded = load_model(model)
    if json:
        print(as_text({"model": model, **report.model_as_json(loaded)}))
        return
    schema, screen = loaded.schema, console()
    told = [
        f"{model}: {report.kind_of_model(loaded)}, {report.n_params(loaded)} parameters",
        f"{schema.target.task}: {described_target(schema)}",
        *([f"id: {schema.id}"] if schema.id is not None else []),
        f"trained: {report.training_told(loaded.training)}",
    ]
    screen.print("\n".join(told), soft_wrap=True)
    screen.show(report.columns_table(loaded))
    coefficients = report.coefficients_table(loaded)
    if coefficients is not None:
        screen.show(coefficients)
