"""The matrix products of a compiled program: how much they compute, and how precisely."""

from collections.abc import Iterator
from math import isqrt, prod

from benchmarks.compiled_text import Instruction, Work, numbers_after, parse

PRODUCTS = {"dot", "convolution"}
LIBRARY_PRODUCTS = ("__cublas", "__cudnn$conv")


def flops(work: Work) -> int:
    """The multiplications and additions of all products, each times its loops' trips."""
    return sum(times * flops_of(instruction) for times, instruction in work.each())


def flops_of(instruction: Instruction) -> int:
    """The multiplications and additions of one instruction's products."""
    return sum(map(_flops, _products(instruction)))


def rounded(text: str) -> list[str]:
    """The names of products whose terms may be rounded to fewer bits than a float32 has, and of
    arrays that are.

    The compiled text of a TPU names bfloat16; NVIDIA's products round to TF32 unless they bear the
    highest precision.
    """
    found = []
    for lines in parse(text).computations.values():
        for one in lines:
            product = one.opcode in PRODUCTS or one.target.startswith(LIBRARY_PRODUCTS)
            low = any(array.dtype in ("bf16", "f16") for array in one.results)
            if low or "tf32" in one.attributes.lower() or (product and not _highest(one)):
                found.append(one.name)
    return found


def _highest(product: Instruction) -> bool:
    said = product.attributes.lower()
    return "operand_precision={highest,highest}" in said or said.count('"highest"') >= 2


def _products(instruction: Instruction) -> Iterator[Instruction]:
    """An instruction's own product, or those in the body of a fusion."""
    if instruction.opcode in PRODUCTS:
        yield instruction
    for inner in instruction.body:
        yield from _products(inner)


def _flops(product: Instruction) -> int:
    """2 · results · terms of each; a TPU writes the product of two matrices as a convolution."""
    [result] = product.results
    left, right = (operand.results[0] for operand in product.operands[:2])
    if product.opcode == "dot":
        axes = numbers_after("lhs_contracting_dims", product.attributes)
        terms = prod(left.shape[axis] for axis in axes)
    else:
        terms = isqrt(prod(left.shape) * prod(right.shape) // prod(result.shape))
    return 2 * prod(result.shape) * terms
