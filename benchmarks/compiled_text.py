"""What a compiled program does, read from its text: `read(compiled.as_text())`.

The text is XLA's own of the optimized program: computations of instructions, most of which are
launched one after another. A `Work` is what runs once and the loops in it; `work.each()` is every
instruction with the number of times that it runs, and `counts(work)` what that makes by kind.
A loop's condition is not part of its work, and of a conditional every branch is.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple

SIZES = {"pred": 1, "token": 0}  # of others the name says the bits
COLLECTIVES = {
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
}
NOTHING = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier"),
    *("partition-id", "replica-id", "add-dependency", "domain", "iota", "optimization-barrier"),
}
HOST = {"infeed", "outfeed", "send", "recv", "send-done", "recv-done"}
LIBRARY = {"dot", "convolution", "custom-call", "fft", "cholesky", "triangular-solve", "topk"}
# What stands in the parentheses of these is no operand.
WRITTEN = {"constant", "parameter"}
# A kernel even if it gives a single number.
WHOLE = {*LIBRARY, *("fusion", "call", "copy", "reduce", "reduce-window", "scatter", "sort")}
# Custom calls that launch nothing, custom calls of a kernel that stands in the program, and what
# marks a fusion that a library works out.
MARKERS = {
    *("AllocateBuffer", "AssumeGatherIndicesInBound", "GatherScatterIndicesBitpacked"),
    *("PrepareAsyncCallStart", "PrepareAsyncCallDone"),
}
OWN_KERNELS = {"tpu_custom_call", "__gpu$xla.gpu.triton"}
HANDED_ON = ("__ynn_fusion", "__onednn", "__cudnn$fusion", "__cublas")


class Array(NamedTuple):
    """An array in a compiled program; the layout tells the memory, and on a TPU the tiles."""

    dtype: str
    shape: tuple[int, ...]
    layout: str

    @property
    def on_host(self) -> bool:
        return "S(5)" in self.layout

    @property
    def bytes(self) -> int:
        if self.dtype in SIZES:
            return prod(self.shape) * SIZES[self.dtype]
        return prod(self.shape) * int(re.findall(r"\d+", self.dtype)[0]) // 8


@dataclass(frozen=True, eq=False)
class Instruction:
    """One line of a computation: what it is, what it reads, what comes out, and a fusion's body."""

    name: str
    opcode: str
    results: tuple[Array, ...]
    attributes: str
    operands: tuple["Instruction", ...] = field(repr=False)
    body: tuple["Instruction", ...] = field(repr=False)

    def called(self, *roles: str) -> list[str]:
        """The computations that it names in these roles."""
        return _called(self.attributes, *roles)

    @property
    def target(self) -> str:
        """Whom a custom call calls."""
        match = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return match[1] if match else ""


@dataclass(frozen=True)
class Program:
    """All computations of a compiled program by name; `entry` names the one that is run."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str


@dataclass(frozen=True)
class Work:
    """What is launched once, and the loops in it, run `trips` times.

    Where the data decide the trips (`exact` is False) they are the most that the condition allows,
    and one where it names no bound.
    """

    trips: int
    exact: bool
    instructions: tuple[Instruction, ...]
    loops: tuple["Work", ...]

    def each(self, times: int = 1) -> Iterator[tuple[int, Instruction]]:
        """Every instruction, and how often it runs."""
        times *= self.trips
        for instruction in self.instructions:
            yield times, instruction
        for loop in self.loops:
            yield from loop.each(times)

    def ending_after(self, trips: int) -> "Work":
        """The same, were every loop whose trips the data decide to end after so many at most."""
        loops = tuple(loop.ending_after(trips) for loop in self.loops)
        most = self.trips if self.exact else min(trips, self.trips)
        return replace(self, trips=most, loops=loops)

    def all_loops(self, times: int = 1) -> Iterator[tuple[int, "Work"]]:
        """Every loop, outermost first, and its trips in all."""
        for loop in self.loops:
            yield times * loop.trips, loop
            yield from loop.all_loops(times * loop.trips)


class Counts(NamedTuple):
    """What a run of the program launches and moves, by kind."""

    kernels: int
    library_calls: int
    collectives: dict[str, int]
    collective_bytes: dict[str, int]
    sorts: int
    host_transfers: int
    arrays_written: int


def read(text: str) -> Work:
    """The work of a compiled program, from its text."""
    program = parse(text)
    return _work(program, program.entry, trips=1, exact=True)


def counts(work: Work) -> Counts:
    """What a work launches: kernels, library calls, collectives with their bytes, and the rest.

    A sort is a kernel or a library call as well. The bytes of a collective are those of its result
    on one device. `arrays_written` are the results of kernels and library calls.
    """
    found, arrays, sizes = Counter[str](), Counter[str](), Counter[str]()
    sorts = 0
    for times, instruction in work.each():
        what = kind(instruction)
        found[what] += times
        arrays[what] += times * len(instruction.results)
        sizes[what] += times * result_bytes(instruction)
        sorts += times * is_sort(instruction)
    return Counts(
        kernels=found["kernel"],
        library_calls=found["library call"],
        collectives={name: found[name] for name in sorted(COLLECTIVES & found.keys())},
        collective_bytes={name: sizes[name] for name in sorted(COLLECTIVES & found.keys())},
        sorts=sorts,
        host_transfers=found["host transfer"],
        arrays_written=arrays["kernel"] + arrays["library call"],
    )


def kind(instruction: Instruction) -> str:
    """A kernel, a library call, a collective by its name, a host transfer, a prefetch, a scalar
    (which a TPU works out beside its kernels) or nothing."""
    base = instruction.opcode.removesuffix("-start").removesuffix("-done")
    copied = base == "copy" and any(array.on_host for array in instruction.results)
    called = instruction.target == "HostExecute" or "callback" in instruction.target
    if instruction.opcode in HOST or copied or called:
        return "host transfer"
    if instruction.opcode in NOTHING or instruction.opcode.endswith(("-done", "-update")):
        return "nothing"
    if base in COLLECTIVES:
        return base
    if base != instruction.opcode:
        return "prefetch"
    if instruction.target in MARKERS:
        return "nothing"
    if base not in WHOLE and all(prod(array.shape) == 1 for array in instruction.results):
        return "scalar"
    handed_on = any(library in instruction.attributes for library in HANDED_ON)
    on_tpu = any(":T(" in array.layout for array in instruction.results)
    library = base in LIBRARY and instruction.target not in OWN_KERNELS and not on_tpu
    return "library call" if library or handed_on else "kernel"


def is_sort(instruction: Instruction) -> bool:
    """Whether it sorts, by XLA's own sort, also within a fusion, or by a library's."""
    named = instruction.opcode == "sort" or "sort" in instruction.target.lower()
    return named or any(map(is_sort, instruction.body))


def result_bytes(instruction: Instruction) -> int:
    """The bytes of what comes out: of what was started without its operands, which stand before."""
    results, given = instruction.results, sum(len(one.results) for one in instruction.operands)
    if instruction.opcode.endswith("-start") and len(results) > given:
        results = results[given : 2 * given]
    return sum(array.bytes for array in results)


def parse(text: str) -> Program:
    """The computations of a program's text, each of which stands below those that it calls."""
    computations: dict[str, tuple[Instruction, ...]] = {}
    entry, name = "", None
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line)
        if header:
            name, lines = header[2], dict[str, Instruction]()
            entry = name if header[1] else entry
        elif line.startswith("}") and name is not None:
            computations[name], name = tuple(lines.values()), None
        elif name is not None and " = " in line:
            instruction = _instruction(line, lines, computations)
            lines[instruction.name] = instruction
    return Program(computations, entry)


def _instruction(
    line: str, above: Mapping[str, Instruction], computations: Mapping[str, tuple[Instruction, ...]]
) -> Instruction:
    """`ROOT %name = type opcode(operands), attributes`; a root is the last of its computation."""
    left, right = re.sub(r"/\*[^*]*\*/", "", line).strip().split(" = ", 1)
    end = _closing(right, 0) + 1 if right[0] == "(" else right.index(" ")
    opened = right.index("(", end)
    closed = _closing(right, opened)
    opcode, inside = right[end:opened].strip(), right[opened + 1 : closed]
    attributes = f"value={inside if opcode in WRITTEN else ''} {right[closed + 1 :]}"
    return Instruction(
        left.removeprefix("ROOT ").lstrip("%"),
        opcode,
        _arrays(right[:end]),
        attributes,
        tuple(above[name] for name in re.findall(r"[\w.\-]+", inside) if name in above),
        computations[_called(attributes, "calls")[0]] if opcode == "fusion" else (),
    )


def numbers_after(name: str, attributes: str) -> list[int]:
    """The numbers of an attribute such as `name={0,2}`."""
    found = re.search(rf"\b{name}=\{{([\d,]*)\}}", attributes)
    return [int(number) for number in found[1].split(",") if number] if found else []


def _called(attributes: str, *roles: str) -> list[str]:
    found = [re.search(rf"\b{role}=%?([\w.\-]+)", attributes) for role in roles]
    return [match[1] for match in found if match]


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if not depth:
            return i
    raise ValueError(f"parentheses must close; got {text[start : start + 80]!r}. Read whole lines.")


def _arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a type, such as `(f32[2,3]{1,0:T(8,128)S(5)}, s32[])`."""
    found = re.findall(r"(\w+)\[([\d,<=]*)\](\{[^}]*\})?", text)
    return tuple(
        Array(dtype, tuple(int(n) for n in re.findall(r"\d+", shape)), layout)
        for dtype, shape, layout in found
    )


def _work(program: Program, name: str, *, trips: int, exact: bool) -> Work:
    launched: list[Instruction] = []
    loops: list[Work] = []
    for instruction in program.computations[name]:
        if instruction.opcode == "while":
            trips_inside, known = _trips(program, instruction)
            [body] = instruction.called("body")
            loops.append(_work(program, body, trips=trips_inside, exact=known))
        elif inner := _inlined(instruction):
            for work in (_work(program, one, trips=1, exact=True) for one in inner):
                launched += work.instructions
                loops += work.loops
        else:
            launched.append(instruction)
    return Work(trips, exact, tuple(launched), tuple(loops))


def _inlined(instruction: Instruction) -> list[str]:
    """The computations that run in its place; of a small call XLA's CPU compiler makes a kernel."""
    if instruction.opcode == "conditional":
        listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.attributes)
        branches = re.findall(r"[\w.\-]+", listed[1]) if listed else []
        return branches + instruction.called("true_computation", "false_computation")
    if instruction.opcode == "call" and 'xla_cpu_small_call="true"' not in instruction.attributes:
        return instruction.called("to_apply")
    return instruction.called("calls") if instruction.opcode == "async-start" else []


def _trips(program: Program, loop: Instruction) -> tuple[int, bool]:
    """How often a loop runs: as XLA tells, or the bound of the counter in its condition."""
    told = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if told:
        return int(told[1]), True
    [condition] = loop.called("condition")
    lines = [*program.computations[condition]]
    for line in lines:
        lines += [
            i for name in line.called("calls", "to_apply") for i in program.computations[name]
        ]
    values = [re.match(r"value=(\d+) ", i.attributes) for i in lines if i.opcode == "constant"]
    bounds = [int(value[1]) for value in values if value]
    compared = [i for i in lines if i.opcode == "compare" and "direction=LT" in i.attributes]
    plain = len(compared) == 1 and not any(i.opcode in ("and", "or") for i in lines)
    return max(bounds, default=1), plain and len(bounds) == 1
