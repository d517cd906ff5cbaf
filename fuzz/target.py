"""What a fuzzer consists of, and where its inputs are."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from typing import NamedTuple

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"

Mutate = Callable[[bytes, Random], bytes | None]
"""Makes another input of one, in its own form; None where it cannot."""


class Target(NamedTuple):
    """A subject to be fuzzed."""

    check: Callable[[bytes], None]
    """Tries one input, whatever it is; an exception is a finding."""
    seeds: Sequence[bytes]
    """Inputs to begin with: what is usual."""
    words: Sequence[str | bytes] = ()
    """What inputs are often made of."""
    mutate: Mutate | None = None
    largest: int = 4096
    """Bytes of an input."""
    patience: int = 10
    """Seconds that one input may take, on a busy machine; far more than it needs."""
    memory: int = 1024
    """MiB that the process may have."""


def names() -> list[str]:
    """All subjects."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("[a-z]*.py"))


def load(name: str) -> Target:
    """A subject; LookupError for one that there is not."""
    if name not in names():
        raise LookupError(f"no target {name!r}: there are {', '.join(names())}")
    target: Target = import_module(f"fuzz.targets.{name}").TARGET
    return target


def corpus(name: str) -> list[Path]:
    """The inputs that are kept for a subject."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
