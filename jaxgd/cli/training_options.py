"""The options about a model and its training."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from jaxgd.arguments import (
    Activation,
    Patience,
    check_batch_size,
    check_count,
    check_patience,
    check_rate,
)
from jaxgd.cli.data_options import Weights
from jaxgd.cli.optimizer_options import Chosen, check_has_option, read_optimizer
from jaxgd.cli.settings import check_seed

# What is used where nothing is told. docs/tuning.md has the measurements.
_USUAL, _PATIENCE = "adam", 10
# Options of optimizers that may be told as options of the command.
_APART = ("momentum", "weight_decay")


@dataclass(frozen=True)
class TrainingOptions:
    """What to train, and how."""

    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = ()
    """Widths of an MLP's hidden layers; by default the model is linear."""
    activation: Activation = "relu"
    """Of hidden layers."""
    optimizer: Annotated[str, arg(metavar="NAME[:OPTION=VALUE,…]")] = "auto"
    """One of torch.optim's, with options of its own, such as sgd, rmsprop:centered=true or
    adamw:weight_decay=0.1,betas=0.9/0.99. By default adam, with a weight decay of 1/rows, as in
    scikit-learn's LogisticRegression, or 2/rows for a regression, as in its Ridge."""
    learning_rate: Annotated[float | Literal["auto"], arg(aliases=("--lr",))] = "auto"
    """Learning rate, or auto: the one that short runs end lowest with, for an MLP of the default
    optimizer at most 0.001. A run that resumes keeps its own."""
    schedule: Literal["constant", "cosine", "linear"] | None = None
    """How the learning rate goes to 0 over all --epochs, if it does: by default as cosine where it
    was found, and not at all where it is told."""
    warmup: Annotated[float, arg(metavar="EPOCHS")] = 0.0
    """In how many epochs the learning rate first rises from 0."""
    momentum: float | None = None
    """The optimizer's option of that name."""
    weight_decay: float | None = None
    """The optimizer's option of that name."""
    clip_norm: float | None = None
    """Longest that a gradient may be: longer ones are shortened to it."""
    average: Annotated[float | Literal["mean"] | None, arg(metavar="DECAY|mean")] = None
    """Use the average of the params after every update: an exponential one, or their mean."""
    batch_size: Annotated[int | None, arg(metavar="ROWS|all")] = 32
    """Rows in a batch: all for gradient descent, 1 for SGD."""
    epochs: int | None = None
    """How often every row is seen, at most: by default so often that there are 10,000 updates, but
    from 5 to 200 times."""
    valid: Annotated[str | None, arg(metavar="FRACTION|FILE")] = None
    """Rows that --patience judges by: a part of those to train on, or a file of their own. By
    default those to train on."""
    patience: int | None = None
    """Stop after so many epochs without a lower loss of these rows, and keep the best model. By
    default 10 with --valid, and not at all without."""
    min_change: float = 0.0
    """By how much a loss must be lower to count for --patience."""
    class_weight: Literal["balanced"] | None = None
    """Count every class alike, however many rows it has."""
    sample_weight: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column of what each row counts in the loss."""
    precision: Literal["default", "high", "highest"] = "default"
    """Of matrix products, which accelerators round to TF32 or bfloat16 by default."""
    device: Literal["cpu", "gpu", "tpu"] | None = None
    """What computes; by default the fastest that is there."""
    seed: int = 0
    """Decides the held-out rows, an MLP's start and the order of rows."""

    def checked(self, distributed: bool) -> "TrainingOptions":
        """These options, the optimizer by the name it has here; ValueError for what cannot be."""
        meant = self.optimizer if self.is_auto else str(read_optimizer(self.optimizer))
        self.chosen()
        if self.learning_rate != "auto":
            check_rate(self.learning_rate)
        if self.epochs is not None:
            check_count("epochs", self.epochs)
        if self.batch_size is not None:
            check_batch_size(self.batch_size)
        for width in self.hidden:
            check_count("every width in hidden", width)
        for name in ("warmup", "momentum", "weight_decay", "clip_norm"):
            check_amount(name, getattr(self, name))
        if self.clip_norm == 0:
            raise ValueError("clip_norm must be above 0; got clip_norm=0. Use 1.0 or so.")
        if isinstance(self.average, float) and not 0 <= self.average < 1:
            raise ValueError(
                f"average must be a decay in [0, 1), or mean; got {self.average:g}. Use 0.999."
            )
        check_patience(Patience(1 if self.patience is None else self.patience, self.min_change))
        if isinstance(self.valid_part, Path):
            self.valid_part.open("rb").close()
            if self.weights != Weights():
                raise ValueError(
                    "rows of a file of their own have no weights; got --valid FILE. Use a "
                    "fraction, or leave out --class-weight and --sample-weight."
                )
        if distributed:
            self._check_distributed()
        check_seed(self.seed)
        return replace(self, optimizer=meant)

    def _check_distributed(self) -> None:
        if self.learning_rate == "auto":
            raise ValueError(
                "--learning-rate auto searches on the rows of one process; got --distributed. "
                "Give a number as --learning-rate."
            )
        if self.weights != Weights():
            raise ValueError(
                "rows are weighed by one process; got --distributed. Leave out --class-weight and "
                "--sample-weight."
            )
        for name in ("valid", "device"):
            if getattr(self, name) is not None:
                raise ValueError(f"--{name} is of a fit by one process; got --distributed.")

    @property
    def is_auto(self) -> bool:
        """Whether no optimizer is told."""
        return self.optimizer == "auto"

    def chosen(self) -> Chosen:
        """The optimizer, with all options that are told; ValueError for what it does not take."""
        name, options = read_optimizer(_USUAL if self.is_auto else self.optimizer)
        for option in _APART:
            value = getattr(self, option)
            if value is None:
                continue
            check_has_option(name, option)
            if option in options:
                told = f"--{option.replace('_', '-')}"
                raise ValueError(f"{option} must be told once; got {self.optimizer!r} and {told}.")
            options[option] = value
        return Chosen(name, options)

    @property
    def is_plain(self) -> bool:
        """Whether the updates are the optimizer's own at one rate, and its params the answer."""
        told = self.learning_rate != "auto" and self.average is None
        moved = self.shape != "constant" or self.warmup or self.clip_norm is not None
        return told and not (moved or self.chosen().options)

    @property
    def waits(self) -> Patience | None:
        """How long to wait for a lower loss, None for not at all."""
        if self.patience is None and self.valid is None:
            return None
        return Patience(_PATIENCE if self.patience is None else self.patience, self.min_change)

    @property
    def shape(self) -> Literal["constant", "cosine", "linear"]:
        """How the learning rate moves."""
        return self.schedule or ("cosine" if self.learning_rate == "auto" else "constant")

    @property
    def valid_part(self) -> float | Path | None:
        """The part of the rows to judge by, the file they are in, or None for none."""
        if self.valid is None:
            return None
        try:
            part = float(self.valid)
        except ValueError:
            return Path(self.valid)
        if not 0 < part < 1:
            raise ValueError(
                f"valid must be a fraction in (0, 1), or a file; got {part:g}. Use 0.2 or so."
            )
        return part

    def files(self) -> list[Path]:
        """The file that is read, if one is."""
        return [self.valid_part] if isinstance(self.valid_part, Path) else []

    def note(self, usual_decay: float) -> dict[str, Any]:
        """These options for a model to remember: what was used where nothing was told, too."""
        decay = usual_decay if self.has_usual_decay else self.weight_decay
        used = {"optimizer": str(self.chosen()), "weight_decay": decay, "schedule": self.shape}
        if self.files():
            used["valid"] = self.files()[0].name
        return asdict(self) | used

    @property
    def has_usual_decay(self) -> bool:
        """Whether weights decay as with scikit-learn's penalties."""
        return self.is_auto and not self.chosen().options

    @property
    def weights(self) -> Weights:
        """What rows count."""
        return Weights(self.class_weight, self.sample_weight)


def check_amount(name: str, amount: float | None) -> None:
    """ValueError for a number that is not finite or negative."""
    if amount is not None and not 0 <= amount < float("inf"):
        raise ValueError(f"{name} must be finite and at least 0; got {name}={amount:g}.")
