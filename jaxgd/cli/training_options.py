"""The options about a model and its training."""

from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Annotated, Any, Literal

from tyro.conf import arg

from jaxgd.arguments import Patience, check_batch_size, check_count, check_patience
from jaxgd.cli.data_options import Weights
from jaxgd.cli.settings import check_optimizer, check_seed


@dataclass(frozen=True)
class TrainingOptions:
    """What to train, and how."""

    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH …")] = ()
    """Widths of an MLP's hidden layers; by default the model is linear."""
    optimizer: str = "sgd"
    """One of torch.optim's by its name, such as sgd, adam or rmsprop."""
    learning_rate: Annotated[float | Literal["auto"], arg(aliases=("--lr",))] = 0.05
    """Learning rate, or auto: the one that short runs end lowest with. A run that resumes keeps its
    own."""
    batch_size: Annotated[int | None, arg(metavar="ROWS|all")] = 32
    """Rows in a batch: all for gradient descent, 1 for SGD."""
    epochs: int = 20
    """How often every row is seen, at most."""
    patience: int | None = None
    """Stop after so many epochs without a lower held-out loss, and keep its best model."""
    min_change: float = 0.0
    """By how much a loss must be lower to count for --patience."""
    class_weight: Literal["balanced"] | None = None
    """Count every class alike, however many rows it has."""
    sample_weight: Annotated[str | None, arg(metavar="COLUMN")] = None
    """Column of what each row counts in the loss."""
    precision: Literal["default", "high", "highest"] = "default"
    """Of matrix products, which accelerators round to TF32 or bfloat16 by default."""
    seed: int = 0
    """Decides the held-out rows, an MLP's start and the order of rows."""

    def checked(self, held_out: float, distributed: bool) -> "TrainingOptions":
        """These options, the optimizer by the name it has here; ValueError for what cannot be."""
        optimizer = check_optimizer(self.optimizer, self.learning_rate)
        check_count("epochs", self.epochs)
        if self.batch_size is not None:
            check_batch_size(self.batch_size)
        for width in self.hidden:
            check_count("every width in hidden", width)
        if self.waits and not held_out:
            raise ValueError(
                "--patience waits for the held-out loss; got --held-out 0. Hold some out."
            )
        if distributed and self.learning_rate == "auto":
            raise ValueError(
                "--learning-rate auto searches on the rows of one process; got --distributed. "
                "Give a number as --learning-rate."
            )
        if distributed and self.weights != Weights():
            raise ValueError(
                "rows are weighed by one process; got --distributed. Leave out --class-weight and "
                "--sample-weight."
            )
        check_seed(self.seed)
        return replace(self, optimizer=optimizer)

    @property
    def waits(self) -> Patience | None:
        """How long to wait for a lower held-out loss, None for not at all."""
        if self.patience is None:
            return None
        return check_patience(Patience(self.patience, self.min_change))

    @property
    def weights(self) -> Weights:
        """What rows count."""
        return Weights(self.class_weight, self.sample_weight)

    def words(self) -> list[str]:
        """These options as the words of a command, but for those that are as usual."""
        return [word for field in fields(self) for word in _words(field, getattr(self, field.name))]


def _words(field: "Field[Any]", value: Any) -> list[str]:
    default = field.default_factory() if field.default is MISSING else field.default
    if value == default:
        return []
    if field.name == "batch_size" and value is None:
        value = "all"
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{field.name.replace('_', '-')}", *map(str, values)]
