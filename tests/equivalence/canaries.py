"""The table of small networks in docs/equivalence.md: `python -m tests.equivalence.canaries`."""

import sys
from collections import Counter

import torch

from tests.equivalence.networks import LR, proof

SEEDS = 60

PLANTED = {
    "nothing": {},
    "loss × 1.0001": {"scale": 1.0001},
    "learning rate × 1.0001": {"rate": LR * 1.0001},
    "eps 1e-7": {"eps": 1e-7},
    "beta2 .9991": {"beta2": 0.9991},
    "one wrong row in one update": {"wrong_row_at": 7},
}


def table(seeds: int = SEEDS) -> str:
    """How many of three activations and so many seeds are the same, unproven or part, as told."""
    lines = ["| planted | same | unproven | parted | cause as told |", "|---|--:|--:|--:|---|"]
    for name, planted in PLANTED.items():
        proofs = [proof(a, s, **planted) for a in ("relu", "tanh", "leaky") for s in range(seeds)]
        counts = Counter(p.verdict for p in proofs)
        causes = ", ".join(sorted({p.cause for p in proofs if p.verdict == "parted"})) or "–"
        told = " | ".join(str(counts[v]) for v in ("equivalent", "unproven", "parted"))
        lines.append(f"| {name} | {told} | {causes} |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table(*map(int, sys.argv[1:])))
