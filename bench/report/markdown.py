"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Iterator, Sequence


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, all others are numbers."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def command(text: str) -> str:
    """A command to type in a checkout, with no line too long to read."""
    return f"```console needs-checkout\n$ {' '.join(_broken(text))}\n```"


def anchor(heading: str) -> str:
    """The anchor that MyST, as GitHub, gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _broken(text: str) -> Iterator[str]:
    length = 0
    for word in text.split(" "):
        length += len(word) + 1
        if length > 100:
            yield "\\\n>"
            length = len(word) + 3
        yield word
