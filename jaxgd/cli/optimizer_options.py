"""An optimizer and its options as words: `adamw:weight_decay=0.1,betas=0.9/0.99`."""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

_ADAM = ("betas", "eps", "weight_decay")
# What each of jaxgd.optim's takes that words can say, besides its learning rate: a test holds them
# against it. Muon is not on offer: it takes matrices only, and every model here has a vector.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "adadelta": ("rho", "eps", "weight_decay", "maximize"),
    "adafactor": ("beta2_decay", "eps", "d", "weight_decay", "maximize"),
    "adagrad": ("lr_decay", "weight_decay", "initial_accumulator_value", "eps", "maximize"),
    "adam": (*_ADAM, "amsgrad", "maximize", "decoupled_weight_decay"),
    "adamax": (*_ADAM, "maximize"),
    "adamw": (*_ADAM, "amsgrad", "maximize"),
    "asgd": ("lambd", "alpha", "t0", "weight_decay", "maximize"),
    "lbfgs": (
        "max_iter",
        "max_eval",
        "tolerance_grad",
        "tolerance_change",
        "history_size",
        "line_search_fn",
    ),
    "nadam": (*_ADAM, "momentum_decay", "decoupled_weight_decay", "maximize"),
    "radam": (*_ADAM, "decoupled_weight_decay", "maximize"),
    "rmsprop": ("alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
    "rprop": ("etas", "step_sizes", "maximize"),
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov", "maximize"),
    "sparse_adam": ("betas", "eps", "maximize"),
}
OPTIMIZERS = tuple(OPTIONS)

# Options whose values are words.
_TEXTS = ("line_search_fn",)


class Chosen(NamedTuple):
    """An optimizer's name, and those of its options that are told."""

    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        """In the form that `read_optimizer` reads."""
        told = ",".join(f"{name}={_written(value)}" for name, value in self.options.items())
        return f"{self.name}:{told}" if told else self.name


def read_optimizer(text: str) -> Chosen:
    """The optimizer that is meant by `NAME` or `NAME:OPTION=VALUE,…`: SparseAdam is sparse_adam.

    A value is a number, true or false, or several numbers as in 0.9/0.99.

    ValueError for a name or an option that is not on offer.
    """
    given, colon, told = text.partition(":")
    name, options = meant_by(given), {}
    for part in told.split(",") if colon else ():
        option, equals, value = part.partition("=")
        if not equals:
            raise ValueError(
                "an optimizer's options must be of the form NAME:OPTION=VALUE,…; got "
                f"{text!r}. Use such as adamw:weight_decay=0.1,betas=0.9/0.99."
            )
        option = option.strip().replace("-", "_")
        check_has_option(name, option)
        options[option] = _value(option, value.strip())
    return Chosen(name, options)


def check_has_option(name: str, option: str) -> None:
    """ValueError unless the optimizer of that name has that option."""
    if option in OPTIONS[name]:
        return
    hint = "Use --learning-rate." if option == "lr" else ""
    if nearest := difflib.get_close_matches(option, OPTIONS[name], n=1):
        hint = f"Use {nearest[0]!r}?"
    known = ", ".join(OPTIONS[name])
    raise ValueError(f"options of {name} must be among {known}; got {option!r}. {hint}".rstrip())


def meant_by(given: str) -> str:
    """The name on offer that is meant; ValueError for another."""
    meant = {offered.replace("_", ""): offered for offered in OPTIMIZERS}
    plain = given.lower().replace("_", "").replace("-", "")
    if plain not in meant:
        nearest = difflib.get_close_matches(plain, meant, n=1)
        hint = f" Use {meant[nearest[0]]!r}?" if nearest else ""
        if plain == "muon":
            hint = " Muon takes matrices only; every model here has a vector."
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; got {given!r}.{hint}")
    return meant[plain]


def _value(option: str, text: str) -> Any:
    if option in _TEXTS:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        numbers = [_number(word) for word in text.split("/")]
    except ValueError:
        raise ValueError(
            f"{option} must be a number, true or false, or numbers as in 0.9/0.99; got {text!r}."
        ) from None
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _number(word: str) -> int | float:
    number = float(word)
    return int(word) if word.lstrip("+-").isdigit() else number


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
