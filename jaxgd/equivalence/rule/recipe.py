"""The optimizer that two trainings are meant to share, with every choice they may differ in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxgd.equivalence.rule.formulas import FORMULAS
from jaxgd.equivalence.rule.registered import check_registered

Number = float | int
Schedule = Callable[[int], float]
_BETAS = {"lion": (0.9, 0.99)}  # of the other rules: Adam's

# What a formula reads. A rule of the registry reads its own options in their place.
OF_A_FORMULA = (
    "momentum", "dampening", "nesterov", "betas", "alpha", "eps", "initial_accumulator", "amsgrad",
    "weight_decay", "decoupled", "decay_times_rate", "eps_at", "bias_correction",
    "largest_corrected", "first_dampened", "lr_in_buffer",
)  # fmt: skip

Clipped = Literal["as a whole", "by leaf", "by micro-batch", "after the optimizer"]


@dataclass(frozen=True)
class Recipe:
    """The optimizer that two trainings are meant to share, in torch.optim's terms.

        g    = gradient * min(1, max_norm / (norm + clip_eps))       if max_norm is given
        g    = clip(g, -max_value, max_value)                        if max_value is given
        g    = g + weight_decay * params                             unless decoupled
        step = -lr * momentum(rule(g))  - lr * weight_decay * params if decoupled

    Give it as torch.optim would be called. The last fields are how torch does it: hypotheses change
    them, you hardly ever will.

    rule: sgd, adam, adagrad, rmsprop, lion or schedule_free_adamw, whose formulas stand here; or
        another name of `jaxgd.optim`'s registry (nadam, radam, muon, …), whose own rule is run in
        float64. Such a one takes torch's options, weight decay among them, in `options`.
    betas: of adam, lion and schedule_free_adamw; None: (0.9, 0.99) for lion, else (0.9, 0.999).
    lr: a number, one for each update, or a function of how often the schedule has been stepped.
    stepped_every: after how many updates the schedule is stepped: those of an epoch, say.
    groups: what is otherwise for some parameters, by pattern of their path (the first that fits):
        `{"*.bias": {"weight_decay": 0.0}, "head.*": {"lr": 1e-4}, "embed.*": {"frozen": True}}`.
        A group's `options` are added to the recipe's.
    """

    rule: str
    lr: Number | Sequence[float] | Schedule
    momentum: Number = 0.0  # sgd and rmsprop
    dampening: Number = 0.0
    nesterov: bool = False
    betas: Sequence[float] | None = None
    alpha: Number = 0.99  # rmsprop
    eps: Number = 1e-8
    initial_accumulator: Number = 0.0  # adagrad and rmsprop
    amsgrad: bool = False  # adam
    weight_decay: Number = 0.0
    decoupled: bool = False
    max_norm: Number | None = None
    max_value: Number | None = None
    stepped_every: int = 1
    frozen: bool = False
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    clip_eps: Number = 1e-6
    clipped: Clipped = "as a whole"
    gradient_factor: Number = 1.0
    decay_times_rate: bool = True
    eps_at: Literal["outside the root", "inside the root", "before the correction"] = (
        "outside the root"
    )
    bias_correction: bool = True
    largest_corrected: bool = False  # amsgrad: whether the maximum is taken after the correction
    first_dampened: bool = False  # whether the first gradient, too, enters the buffer dampened
    lr_in_buffer: bool = False  # whether the buffer adds up lr * g rather than g

    def __post_init__(self) -> None:
        for name in ("betas", "options", "groups"):  # from JSON, they hold lists
            object.__setattr__(self, name, _with_tuples(getattr(self, name)))
        if self.rule not in FORMULAS:
            check_registered(self.rule, self.options, tuple(FORMULAS))
            own = {f.name: f.default for f in fields(self) if f.name in OF_A_FORMULA}
            _refuse(self.rule, [name for name in own if getattr(self, name) != own[name]])
        elif self.options:
            raise ValueError(
                f"options are those of a rule of the registry; got {dict(self.options)} for "
                f"{self.rule}. Give them as fields of the recipe."
            )
        elif self.betas is None:
            object.__setattr__(self, "betas", default_betas(self.rule))
        if not callable(self.lr) and np.ndim(self.lr):
            object.__setattr__(self, "lr", tuple(np.asarray(self.lr, np.float64).tolist()))
        if not (isinstance(self.stepped_every, int) and self.stepped_every >= 1):
            raise ValueError(
                "stepped_every is a number of updates, at least 1; got "
                f"{self.stepped_every}. Use 1 for a schedule that is stepped in every update."
            )
        known = {f.name for f in fields(self)} - {"groups", "max_norm", "clipped"}
        for pattern, changes in self.groups.items():
            if unknown := set(changes) - known:
                raise ValueError(
                    f"A group changes fields of the recipe; got {', '.join(sorted(unknown))} for "
                    f"'{pattern}'. Clipping is for all groups; others are {', '.join(known)}."
                )
            rule = changes.get("rule", self.rule)
            if rule not in FORMULAS:
                _refuse(rule, [name for name in changes if name in OF_A_FORMULA])
            self._of_group(changes)

    @property
    def registered(self) -> bool:
        """Whether the rule is the registry's own, which is run in the place of a formula."""
        return self.rule not in FORMULAS

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate may change."""
        return callable(self.lr) or np.ndim(self.lr) > 0

    def at(self, path: str) -> "Recipe":
        """The recipe of one parameter."""
        for pattern, changes in self.groups.items():
            if fnmatchcase(path, pattern):
                return self._of_group(changes)
        return replace(self, groups={}) if self.groups else self

    def of_rule(self, rule: str) -> "Recipe":
        """The same numbers under another rule, as far as both read them."""
        if rule == self.rule:
            return self
        default = self.registered or self.betas == default_betas(self.rule)
        changes: dict[str, Any] = {"betas": None} if default else {}
        if rule not in FORMULAS:
            changes = {f.name: f.default for f in fields(self) if f.name in OF_A_FORMULA}
        return replace(self, rule=rule, options={}, **changes)

    def _of_group(self, changes: Mapping[str, Any]) -> "Recipe":
        same = replace(self, groups={}).of_rule(changes.get("rule", self.rule))
        options = {**same.options, **changes.get("options", {})}
        return replace(same, **{**changes, "options": options})

    def check_groups(self, paths: Sequence[str]) -> None:
        """ValueError unless each group's pattern is a parameter's."""
        for pattern in self.groups:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise ValueError(
                    f"A group's pattern fits a parameter; '{pattern}' fits none of "
                    f"{', '.join(sorted(paths)[:5])}. A path is keys joined by dots; * fits any."
                )

    def rates(self, updates: int) -> Float[np.ndarray, " updates"]:
        """The learning rate of each update; ValueError when there are fewer."""
        if callable(self.lr):
            lr = self.lr
            return np.array([float(lr(t // self.stepped_every)) for t in range(updates)])
        rates = np.asarray(self.lr, np.float64)
        if rates.ndim and len(rates) < updates:
            raise ValueError(
                f"lr must hold one learning rate for each of {updates} updates; "
                f"got {len(rates)}. Give them all, or one number."
            )
        return rates[:updates] if rates.ndim else np.full(updates, rates)

    def stepped(self, every: int, updates: int) -> "Recipe | None":
        """The recipe with its schedule stepped every so many updates; None where it is unknown.

        A table holds what a function would have given: its steps, once each.
        """
        if callable(self.lr):
            return replace(self, stepped_every=every)
        table = np.asarray(self.lr, np.float64)
        at = np.arange(updates) // every * self.stepped_every
        if table.ndim == 0 or at[-1] >= len(table):
            return None
        return replace(self, lr=tuple(table[at].tolist()), stepped_every=every)


def default_betas(rule: str) -> tuple[float, float]:
    """The betas of a formula's rule that is given none."""
    return _BETAS.get(rule, (0.9, 0.999))


def _refuse(rule: str, unread: Sequence[str]) -> None:
    """ValueError if a rule of the registry is given fields that only a formula reads."""
    if unread:
        raise ValueError(
            f"{rule} reads its own options; got the fields {', '.join(unread)}, which it would "
            f"not read. Give what it takes as options: options={{'{unread[0]}': …}}."
        )


def _with_tuples(value: Any) -> Any:
    """Lists as tuples, however deep."""
    if isinstance(value, Mapping):
        return {name: _with_tuples(inner) for name, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value
