"""The words of a command line, as people write them, made those that its parser knows."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

# Options that take several words, and those of them that are numbers.
_NUMBERS = {"--hidden", "--learning-rates", "--batch-sizes"}
LISTS = {"--ignore", "--platforms", *_NUMBERS}
# Options that take none, besides those that begin with --no-.
FLAGS = {"--distributed", "--deterministic", "--resume", "--standardize", "--critical"}
FLAGS |= {"--json", "--force", "--quiet", "--reliability"}

_FILES = {".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".jsonl", ".ndjson", ".npz"}
_FILES |= {".safetensors", ".st"}
_PACKED = {".gz", ".zst"}


def in_order(argv: list[str]) -> list[str]:
    """The same words with the file in front where an option of several words would take it.

    `--ignore a b file.csv` ignores a and b; `--hidden 16,8` is `--hidden 16 8`, and `--batch-size
    all` is None, all rows. A word is the file if it is called like one, is not the only word of its
    option, and no other word is where a file would be.
    """
    words, loose = [], []
    for option, values in options_of(argv):
        if option in _NUMBERS:
            values = [part for value in values for part in value.split(",") if part]
        if option == "--batch-size" and values[:1] == ["all"]:
            values = ["None", *values[1:]]
        words.append((option, values))
        loose += values[words_taken(option, values) :]
    for option, values in words:
        if option in LISTS and not loose and len(values) > 1 and _is_file(values[-1], option):
            return [values.pop(), *_flat(words)]
    return _flat(words)


def words_taken(option: str, values: list[str]) -> int:
    """How many words behind an option are its own."""
    if option in LISTS:
        return len(values)
    return 0 if option in FLAGS | {""} or "=" in option or option.startswith("--no-") else 1


def options_of(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each option with the words behind it, first those before any as "" has them."""
    rest, option, found = list(argv), "", []
    while True:
        values = list(takewhile(lambda word: not _is_option(word), rest))
        rest = rest[len(values) :]
        name, equals, value = option.partition("=")
        if equals and (name in LISTS or name == "--batch-size"):
            option, values = name, [value, *values]
        found.append((option, values))
        if not rest:
            return found
        name, equals, value = rest.pop(0).partition("=")
        option = name.replace("_", "-") + equals + value


def _is_option(word: str) -> bool:
    return word.startswith("--")


def _is_file(word: str, option: str) -> bool:
    suffixes = [suffix.lower() for suffix in Path(word).suffixes if suffix.lower() not in _PACKED]
    is_called_so = word == "-" or (bool(suffixes) and suffixes[-1] in _FILES)
    return is_called_so or (option in _NUMBERS and Path(word).is_file())


def _flat(words: list[tuple[str, list[str]]]) -> list[str]:
    return [word for option, values in words for word in ([option] if option else []) + values]
