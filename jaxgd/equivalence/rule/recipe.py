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
    lr: a number, one for each update, or a function of how often the schedule has been stepped.
    stepped_every: after how many updates the schedule is stepped: those of an epoch, say.
    groups: what is otherwise for some parameters, by pattern of their path (the first that fits):
        `{"*.bias": {"weight_decay": 0.0}, "head.*": {"lr": 1e-4}, "embed.*": {"frozen": True}}`.
    """

    rule: str
    lr: Number | Sequence[float] | Schedule
    momentum: Number = 0.0  # sgd and rmsprop
    dampening: Number = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)  # adam, lion and schedule_free_adamw
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
        if self.rule not in FORMULAS:
            check_registered(self.rule, self.options, tuple(FORMULAS))
        elif self.options:
            raise ValueError(
                f"options are those of a rule of the registry; got {dict(self.options)} for "
                f"{self.rule}. Give them as fields of the recipe."
            )
        if self.rule == "lion" and self.betas == (0.9, 0.999):
            object.__setattr__(self, "betas", (0.9, 0.99))  # its own defaults
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
                return replace(self, groups={}, **changes)
        return replace(self, groups={}) if self.groups else self

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
