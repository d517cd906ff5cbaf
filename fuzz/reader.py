"""Values from the bytes of an input: numbers, choices and texts, for ever: behind its end all are zero."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Reader:
    """Reads an input from front to end."""

    def __init__(self, data: bytes) -> None:
        """Start at the front."""
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """The next bytes, ``size`` of them if there are so many."""
        part = self._data[self._at : self._at + size]
        self._at += len(part)
        return part

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def below(self, limit: int) -> int:
        """A number from 0 up to and without ``limit``."""
        size = ((limit - 1).bit_length() + 7) // 8
        return int.from_bytes(self.take(size), "little") % limit

    def flag(self) -> bool:
        """True or false."""
        return bool(self.below(256) & 1)

    def one_of(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[self.below(len(values))]

    def piece(self) -> bytes:
        """Up to 255 bytes, whose number stands before them."""
        return self.take(self.below(256))

    def text(self) -> str:
        """A piece as text; what is no UTF-8 becomes something else."""
        return self.piece().decode("utf-8", "replace")
