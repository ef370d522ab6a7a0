"""The work that is timed: one Case a row of the table, and the data it is done on."""

from dataclasses import dataclass, replace

import numpy as np

LEARNING_RATE = 0.1
WIDTHS = (10, 30, 100, 256, 784)
VARIANTS = (
    *("momentum", "Nesterov", "coupled decay", "decoupled decay (AdamW)", "averaging"),
    *("multinomial", "one-vs-rest", "squared", "hinge", "Huber", "Poisson"),
)


@dataclass(frozen=True)
class Case:
    """One piece of work on n rows of d features; its cost is given per `unit`."""

    group: str
    kind: str
    n: int
    d: int
    batch: int = 1
    epochs: int = 1
    shuffled: bool = True
    hidden: int = 32
    variant: str = ""

    @property
    def unit(self) -> str:
        units = dict.fromkeys(("sgd", "squares", "variant"), "ns/example")
        units |= {"gd": "ms/epoch", "sweep": "s", "grid": "s", "table": "s"}
        return units.get(self.kind, "µs/update")

    @property
    def units_per_second(self) -> float:
        return {"ns/example": 1e9, "µs/update": 1e6, "ms/epoch": 1e3, "s": 1.0}[self.unit]

    @property
    def name(self) -> str:
        words = [self.variant or self.kind, f"d={self.d}", f"n={self.n}"]
        if self.kind in ("minibatch", "mlp"):
            words.insert(1, f"b={self.batch}")
        if self.kind == "mlp":
            words.append(f"hidden={self.hidden}")
        if self.group == "scaling":
            words.append(f"epochs={self.epochs}")
        return " ".join(words if self.shuffled else [*words, "as they lie"])


def problem(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Rows x [n, d] of about unit length and labels y [n] in {0, 1}, both float32."""
    if case.kind in ("table", "sweep", "grid"):
        return bundled_table()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.n, case.d), np.float32) / np.sqrt(np.float32(case.d))
    if case.variant in ("multinomial", "one-vs-rest"):
        return x, np.argmax(x @ rng.standard_normal((case.d, 10), np.float32), 1).astype(np.int32)
    y = x @ rng.standard_normal(case.d, np.float32) > 0
    return x, y.astype(np.float32)


def bundled_table() -> tuple[np.ndarray, np.ndarray]:
    """The breast-cancer table that comes with scikit-learn, standardised."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y.astype(np.float32)


def all_cases(quick: bool) -> list[Case]:
    """Every case, or for a quick look the few that fit into a minute."""
    if quick:
        return [
            Case("sgd", "sgd", 10_000, 30, epochs=2),
            Case("variants", "variant", 10_000, 30, epochs=2, variant="momentum"),
            Case("minibatch", "minibatch", 4096, 30, 32),
            Case("gd", "gd", 2000, 784, epochs=20),
            Case("sweep", "sweep", 569, 30, 32, epochs=5),
            Case("sweep", "grid", 569, 30, epochs=5),
            Case("table", "table", 569, 30, epochs=20),
        ]
    sgd = Case("sgd", "sgd", 50_000, 30, epochs=2)
    batch = Case("minibatch", "minibatch", 16_384, 30, 32, epochs=4)
    scaling = replace(sgd, group="scaling", epochs=1)
    return [
        *(
            replace(sgd, n=20_000, d=d, epochs=20 if d <= 100 else 5, shuffled=s)
            for d in WIDTHS
            for s in (True, False)
        ),
        replace(sgd, n=20_000, epochs=20, kind="squares"),
        *(Case("variants", "variant", 20_000, 30, epochs=20, variant=name) for name in VARIANTS),
        *(replace(batch, d=d, batch=b) for d in (30, 784) for b in (8, 32, 256, 2048)),
        *(
            replace(batch, kind="mlp", d=d, batch=b, hidden=h)
            for d in (30, 784)
            for h in (32, 256)
            for b in (8, 32, 256)
        ),
        Case("gd", "gd", 2000, 784, epochs=20),
        Case("gd", "gd", 60_000, 784, epochs=2),
        Case("sweep", "sweep", 569, 30, 32, epochs=20),
        Case("sweep", "grid", 569, 30, epochs=20),
        Case("table", "table", 569, 30, epochs=20),
        *(replace(scaling, n=n) for n in (1000, 10_000, 100_000)),
        *(replace(scaling, n=10_000, d=d) for d in (3, 10, 100, 300, 1000)),
        *(replace(scaling, n=10_000, epochs=e) for e in (2, 8, 32)),
    ]
