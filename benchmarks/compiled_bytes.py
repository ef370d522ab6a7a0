"""The bytes that a compiled program moves through a device's main memory, from its text.

    what an instruction reads of each operand + what it writes

Of a slice or a gather only the part counts, of a buffer that is updated in place only the update,
and of a TPU's scratchpad, which XLA calls memory space 1, nothing. Caches are not modelled: what a
CPU finds in them counts like the rest.
"""

from collections.abc import Sequence

from benchmarks.compiled_text import Instruction, Work, kind

PARTS = {"dynamic-slice", "slice", "gather"}
SAME = {"bitcast", "reshape", "convert", "transpose"}
SCRATCHPAD = "S(1)"


def total(work: Work) -> int:
    """The bytes of a whole work, each instruction's times its loops' trips."""
    return sum(times * moved(instruction) for times, instruction in work.each())


def moved(instruction: Instruction) -> int:
    """The bytes that one launch reads and writes."""
    what = kind(instruction)
    if what in ("nothing", "scalar"):
        return 0
    if what == "prefetch":  # both ends of the copy are results
        return sum(_memory(instruction)[:2])
    body = instruction.body or (*instruction.operands, instruction)
    sources = [i for i in body if i.opcode == "parameter"] if instruction.body else body[:-1]
    return sum(_read(source, body) for source in set(sources)) + _written(body[-1])


def _read(source: Instruction, body: Sequence[Instruction]) -> int:
    """The bytes of an array that the rest of a body looks at."""
    if not sum(_memory(source)):
        return 0
    size = sum(array.bytes for array in source.results)
    return min(size, sum(_read_by(user, source, body) for user in body if source in user.operands))


def _read_by(user: Instruction, source: Instruction, body: Sequence[Instruction]) -> int:
    """The bytes of an array that one instruction looks at."""
    if user.opcode in PARTS and user.operands[0] is source:
        return sum(array.bytes for array in user.results)
    if user.opcode == "dynamic-update-slice" and user.operands[0] is source:
        return 0
    if _is_same(user) and user is not body[-1]:
        return _read(user, body)
    if user.body:
        inside = [i for i in user.body if i.opcode == "parameter"]
        places = {int(i.attributes.split()[0].removeprefix("value=")): i for i in inside}
        here = [places[k] for k, operand in enumerate(user.operands) if operand is source]
        return sum(_read(parameter, user.body) for parameter in here)
    return sum(array.bytes for array in source.results)


def _is_same(user: Instruction) -> bool:
    """Whether it only lays an array out otherwise; within a kernel, as the rest needs it."""
    inside = {i.opcode for i in user.body} - {"parameter", "copy"}
    return user.opcode in SAME or (bool(user.body) and inside <= SAME)


def _written(root: Instruction) -> int:
    """The bytes of a result that are new."""
    if root.opcode == "tuple":
        return sum(map(_written, root.operands))
    if root.opcode == "dynamic-update-slice":
        return sum(_memory(root.operands[1]))
    if root.opcode in SAME:
        return min(sum(_memory(root)), max(_written(root.operands[0]), 1))
    return _written(root.body[-1]) if root.body else sum(_memory(root))


def _memory(instruction: Instruction) -> list[int]:
    """The bytes of each result that lies in main memory."""
    return [0 if SCRATCHPAD in a.layout else a.bytes for a in instruction.results]
