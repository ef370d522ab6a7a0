"""The lesson, line by line: one neuron, one example, its loss and its two gradients.

A logistic neuron with weight 0.23 and bias 0.1 sees x = 1.23 with label 1. PyTorch's autograd
gives the gradients twice: functionally with `autograd.grad`, and into `.grad` with `.backward()`.
Run `python -m torch_ref.notebook` to read it.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy


class Lesson(NamedTuple):
    """The lesson's inputs and its numbers."""

    x: float
    w: float
    b: float
    y: float
    z: float
    a: float
    loss: float
    grad_w: float
    grad_b: float


def lesson(dtype: torch.dtype = torch.float32) -> Lesson:
    """The lesson's numbers, the gradients taken by `autograd.grad`.

    z = w x + b,   a = 1 / (1 + exp(-z)),   loss = -(y log a + (1 - y) log(1 - a))
    """
    x, y = torch.tensor(1.23, dtype=dtype), torch.tensor(1.0, dtype=dtype)
    w = torch.tensor(0.23, dtype=dtype, requires_grad=True)
    b = torch.tensor(0.1, dtype=dtype, requires_grad=True)
    z = x * w + b
    a = torch.sigmoid(z)
    loss = binary_cross_entropy(a, y)
    grad_w, grad_b = torch.autograd.grad(loss, (w, b))
    return Lesson(*(t.item() for t in (x, w, b, y, z, a, loss, grad_w, grad_b)))


def backward_gradients(dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    """The lesson's two gradients once more, accumulated into `.grad` by `loss.backward()`."""
    x, y = torch.tensor(1.23, dtype=dtype), torch.tensor(1.0, dtype=dtype)
    w = torch.tensor(0.23, dtype=dtype, requires_grad=True)
    b = torch.tensor(0.1, dtype=dtype, requires_grad=True)
    binary_cross_entropy(torch.sigmoid(x * w + b), y).backward()
    assert w.grad is not None
    assert b.grad is not None
    return w.grad.item(), b.grad.item()


def main() -> None:
    """Print the lesson step by step, to four decimals."""
    told = lesson()
    grad_w, grad_b = backward_gradients()
    print(f"x = {told.x:.2f}   w = {told.w:.2f}   b = {told.b:.2f}   y = {told.y:.0f}")
    print(f"z = w x + b            = {told.z:.4f}")
    print(f"a = sigmoid(z)         = {told.a:.4f}")
    print(f"loss = BCE(a, y)       = {told.loss:.4f}")
    print(f"autograd.grad  dloss/dw = {told.grad_w:.4f}   dloss/db = {told.grad_b:.4f}")
    print(f".backward()    dloss/dw = {grad_w:.4f}   dloss/db = {grad_b:.4f}")


if __name__ == "__main__":
    main()
