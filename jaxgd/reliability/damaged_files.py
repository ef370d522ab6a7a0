"""Damages of what is stored, made at random: a refusal or what was saved, in bounded memory."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.numpy

from jaxgd.equivalence.recordings.recorder import digest
from jaxgd.reliability.failing_operations import MEMORY, Outcome, found
from jaxgd.reliability.stored_things import NUMBERS, THINGS, Thing
from jaxgd.storage.verified_file import digest_of

SECONDS, BYTES = 20, 1 << 30  # what one load may take

Files = list[Path]
Damage = Callable[[Files, random.Random], None]


def flipped(files: Files, chance: random.Random) -> None:
    """Bits."""
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 1, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(files: Files, chance: random.Random) -> None:
    """The end of a file is missing, or there is more of it."""
    path = chance.choice(files)
    content = path.read_bytes()
    end = chance.randrange(len(content))
    more = content + chance.choice((b"\0" * 99, chance.randbytes(9), content))
    path.write_bytes(chance.choice((content[:end], content[:end], more)))


def overwritten(files: Files, chance: random.Random) -> None:
    """A piece is zero, noise, or a piece from elsewhere."""
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    begin, length = chance.randrange(len(content)), chance.choice((1, 8, 64, 512))
    other = chance.randrange(len(content))
    length = min(length, len(content) - begin, len(content) - other)
    pieces = (bytes(length), chance.randbytes(length), bytes(content[other : other + length]))
    content[begin : begin + length] = chance.choice(pieces)
    path.write_bytes(content)


def swapped(files: Files, chance: random.Random) -> None:
    """A file is another, or not there."""
    path, other = chance.choice(files), chance.choice(files)
    content = other.read_bytes()
    if chance.random() < 0.3:
        path.unlink()
    elif chance.random() < 0.5:
        other.write_bytes(path.read_bytes())
    path.write_bytes(content)


def huge(files: Files, chance: random.Random) -> None:
    """More is declared, or seems to be there, than any memory holds."""
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    if chance.random() < 0.5:
        content[:8] = chance.choice((2**63, 2**40, 99_000_000, 2**64 - 1)).to_bytes(8, "little")
        path.write_bytes(content)
    if chance.random() < 0.5:
        os.truncate(path, 2**40)


def misplaced(files: Files, chance: random.Random) -> None:
    """A link, a device, a pipe or a directory stands where a file was."""
    path, other = chance.choice(files), chance.choice(files)
    places = ("/dev/zero", path.name, f"../../{path.parent.name}", "/etc/passwd", other.name)
    path.unlink()
    match chance.randrange(3):
        case 0:
            path.mkdir()
        case 1 if hasattr(os, "mkfifo"):
            os.mkfifo(path)
        case _:
            path.symlink_to(chance.choice(places))


def forged(files: Files, chance: random.Random) -> None:
    """What stands in JSON is other than it was, and the digests are right."""
    path = chance.choice(files)
    if path.suffix == ".json":
        manifest = json.loads(path.read_text())
        manifest.pop("sha256")
        manifest = _other(manifest, chance)
        if isinstance(manifest, dict):
            manifest["sha256"] = digest(manifest, ())
        path.write_text(json.dumps(manifest))
        return
    header, data = _parts(path)
    about = header["__metadata__"]
    if "note" in about:
        text = json.dumps(_other(json.loads(about["note"]), chance))
        if chance.random() < 0.05:
            text = "[" * 10_000 + "]" * 10_000
        about["note"] = text
    else:
        about[chance.choice(("before", "name"))] = "../../x"
    _write(path, header, data)


def misdeclared(files: Files, chance: random.Random) -> None:
    """The header tells of other arrays than there are."""
    path = chance.choice(files)
    if path.suffix == ".json":
        return forged(files, chance)
    header, data = _parts(path)
    name = chance.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    match chance.randrange(5):
        case 0:
            entry["shape"] = chance.choice(
                ([2**62, 4], [-1], ["a"], [1e9], [0, 2**63], 7, [1] * 99)
            )
        case 1:
            entry["dtype"] = chance.choice(("F99", "O", None, 3, "../x", "F8_E4M3", "C64"))
        case 2:
            entry["data_offsets"] = chance.choice(([0, 2**62], [-8, 8], [8, 0], [], "ab", [0.0, 4]))
        case 3:
            header[chance.choice(("../../etc/passwd", "", "/", "\0", "x" * 9999))] = header.pop(
                name
            )
        case _:
            header[name] = _other(entry, chance)
    _write(path, header, data)
    return None


DAMAGES: tuple[Damage, ...] = (
    flipped,
    cut,
    overwritten,
    swapped,
    huge,
    misplaced,
    forged,
    misdeclared,
)
# A file that declares other arrays, its digest right, says other values: they are what it says.
_SAYS_OTHERS = (misdeclared,)


def damages(
    count: int,
    seed: int = 0,
    things: Sequence[Thing] = THINGS,
    kinds: Sequence[Damage] = DAMAGES,
) -> Iterator[Outcome]:
    """What comes of so many damages, each of one of the things, each of one kind in turn."""
    with TemporaryDirectory(dir=MEMORY) as place:
        for thing in things:
            (Path(place) / thing.name).mkdir()
            for _ in thing.save(Path(place) / thing.name):
                pass
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            thing = things[number % len(things)]
            damage = kinds[number // len(things) % len(kinds)]
            folder = Path(place) / "damaged"
            shutil.copytree(Path(place) / thing.name, folder)
            files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
            if thing.name == "checkpoints" and chance.random() < 0.5:
                files = _without_the_others(files)
            damage(files, chance)
            what = f"{damage.__name__} (number {number}, seed {seed})"
            outcome = _loaded(thing, what, folder)
            if outcome.verdict == "wrong" and damage in _SAYS_OTHERS:
                outcome = outcome._replace(verdict="right")
            yield outcome
            shutil.rmtree(folder)


def _without_the_others(checkpoints: Files) -> Files:
    """The newest alone: nothing is there to fall back on."""
    for path in checkpoints[:-1]:
        path.unlink()
    return checkpoints[-1:]


def _loaded(thing: Thing, what: str, folder: Path) -> Outcome:
    try:
        with _bounded():
            outcome = found(thing, what, folder, 0, NUMBERS[-1])
    except _Hung:
        return Outcome(thing.name, what, "hung", f"longer than {SECONDS} s")
    except MemoryError:
        return Outcome(thing.name, what, "hung", f"more than {BYTES} bytes of memory")
    if "MemoryError" in outcome.told:
        return outcome._replace(verdict="hung")
    return outcome


class _Hung(BaseException):
    pass


@contextmanager
def _bounded() -> Iterator[None]:
    """The block is given so many seconds, and that much more memory, where the system can."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        yield
        return

    def hung(*_: object) -> None:
        raise _Hung

    before, limits = signal.signal(signal.SIGALRM, hung), resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    with suppress(FileNotFoundError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    "",
    "../../etc/passwd",
    [],
    {},
    [[]],
    ["a", 1],
    "O",
)


def _other(tree: Any, chance: random.Random) -> Any:
    """JSON of which one value is another, or missing."""
    if isinstance(tree, dict) and tree and chance.random() < 0.9:
        name = chance.choice(sorted(tree))
        if chance.random() < 0.2:
            return {key: value for key, value in tree.items() if key != name}
        return {**tree, name: _other(tree[name], chance)}
    if isinstance(tree, list) and tree and chance.random() < 0.6:
        at = chance.randrange(len(tree))
        return [*tree[:at], _other(tree[at], chance), *tree[at + 1 :]] * chance.choice((1, 1, 2))
    return chance.choice(_VALUES)


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _write(path: Path, header: dict[str, Any], data: bytes) -> None:
    """A safetensors file, with the digest that its reader will ask for."""
    about = header["__metadata__"]
    about.pop("sha256")
    if "note" not in about:
        about["sha256"] = digest(header, [data])
    else:
        about["sha256"] = ""
        with suppress(Exception):  # what safetensors itself refuses needs no digest
            arrays = safetensors.numpy.load(_content(header, data))
            about["sha256"] = digest_of(about["note"], arrays)
    path.write_bytes(_content(header, data))


def _content(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data
