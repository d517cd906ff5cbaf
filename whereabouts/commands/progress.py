"""How far long work has come, on standard error: for who waits at a terminal, and for nobody else."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import Self, TextIO

_PAUSE = 0.1
"""Seconds between two showings: more are not seen, and cost."""
_CLEAR = "\r\x1b[K"


class Progress:
    """A line that is written over and over, and is gone in the end. Nothing where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Progress on ``stream``, by default standard error."""
        self._stream = sys.stderr if stream is None else stream
        self._width = _width(self._stream)
        self._shown_at = float("-inf")

    def say(self, text: str) -> None:
        """Show ``text`` in place of what was shown before, unless that was a moment ago."""
        now = monotonic()
        if self._width and now - self._shown_at >= _PAUSE:
            self._shown_at = now
            self._write(_CLEAR + text[: self._width - 1])

    def done(self) -> None:
        """Take the line away."""
        if self._shown_at >= 0:
            self._shown_at = float("-inf")
            self._write(_CLEAR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _width(stream: TextIO) -> int:
    """The columns of the terminal behind a stream; 0 where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0
