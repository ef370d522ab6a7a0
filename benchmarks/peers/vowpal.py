"""Vowpal Wabbit's plain SGD from its Python package, over examples parsed beforehand."""

from collections.abc import Callable

from benchmarks.cases import LEARNING_RATE, Case, problem

EXAMPLES = 2000


def run(case: Case) -> Callable[[], int]:
    from vowpalwabbit import pyvw

    x, y = problem(case)
    learner = pyvw.Workspace(
        f"--quiet --sgd --loss_function logistic --power_t 0 -l {LEARNING_RATE} --noconstant -b 18"
    )
    examples = []
    for row, label in zip(x[:EXAMPLES], y, strict=False):
        words = " ".join(f"{i}:{value:.6g}" for i, value in enumerate(row))
        example = learner.parse(f"{2 * label - 1:g} | {words} constant:1", learner.lDefault)
        examples.append(example)

    def work() -> int:
        for example in examples:
            learner.learn(example)
        return len(examples)

    return work
