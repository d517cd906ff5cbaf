"""The pages that people read, and the blocks of code in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

_FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?"
    r"(?P<indent> *)(?P<mark>```+|~~~+)(?P<info>.*)\n(?P<text>(?:.*\n)*?) *(?P=mark) *$",
    re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block, also one inside an HTML comment, which a reader does not see."""

    page: Path
    line: int
    """Of its first line of text, counted from 1."""
    info: str
    text: str
    file: str = ""
    """Under which name a reader is to save the text: ``<!-- file: NAME -->`` on the line above says so."""

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def where(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        content = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(page, line, found["info"].strip(), content, found["file"] or "")


def without_blocks(page: Path) -> str:
    """The text of a page with its fenced blocks emptied, line for line."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text())
