"""Every error that a person can meet is explained, and what is explained exists."""

import re
from typing import NamedTuple

import pytest

from tests.documents import ROOT
from tests.error_sentences import VARIES, Sentence, Source
from whereabouts.cni import errors

PAGE = (ROOT / "docs/errors.md").read_text()
SENTENCES = Source().sentences
TEXTS = Source().texts | {sentence.text for sentence in SENTENCES}


class Row(NamedTuple):
    """A message as the page has it; ``…`` stands for whatever is there."""

    message: str
    meaning: str

    def covers(self, text: str) -> bool:
        parts = map(re.escape, self.message.split(VARIES))
        return re.fullmatch(".*".join(parts), text, re.DOTALL) is not None


ROWS = [
    Row(*(cell.strip("` ") for cell in found.groups()))
    for found in re.finditer(r"^\| (`.+`) \| (.+) \|$", PAGE, re.MULTILINE)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.message)
def test_row_says_enough_to_be_found_and_something_of_the_source_says_it(row: Row) -> None:
    assert len(re.findall(r"\w", row.message)) >= 3
    assert any(row.covers(text) for text in TEXTS)


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: sentence.where)
def test_error_is_explained(sentence: Sentence) -> None:
    assert any(row.covers(sentence.text) for row in ROWS), f"docs/errors.md: no row for: {sentence.text}"


def test_every_code_and_no_other_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert explained == {code for code in codes if code in range(1, 1000) and code != errors._LONGEST_ECHO}
