"""The reference of the configuration says what the code does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.config_cases import loaded
from whereabouts.config.errors import Problems
from whereabouts.config.flat_file import FLAT_FILES
from whereabouts.config.keys import (
    DATASTORES,
    FLAG,
    KEYS,
    LOG_LEVELS,
    NUMBER,
    OBJECT,
    OBJECTS,
    TEXT,
    TEXTS,
    Key,
    Keys,
)
from whereabouts.config.members import Place, read_members

PAGE = Path(__file__).parents[1].joinpath("docs/configuration.md").read_text()
TYPES = {
    TEXT: "string",
    FLAG: "boolean",
    NUMBER: "integer",
    TEXTS: "list of strings",
    OBJECT: "object",
    OBJECTS: "list of objects",
}


class Row(NamedTuple):
    type: str
    default: str
    example: str
    meaning: str


def _rows() -> Iterator[tuple[str, Row]]:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield cells[0].strip("`"), Row(*cells[1:])


ROWS = dict(_rows())


def _flatten(keys: Keys, before: str = "") -> Iterator[tuple[str, Key]]:
    for name, key in keys.items():
        yield before + name, key
        yield from _flatten(key.members, f"{before}{name}{'[]' if key.kind == OBJECTS else ''}.")


FLAT_KEYS = dict(_flatten(KEYS))


def test_every_key_and_no_other_is_in_the_reference() -> None:
    assert sorted(ROWS) == sorted(FLAT_KEYS)
    assert len(list(_rows())) == len(ROWS)


@pytest.mark.parametrize("name", FLAT_KEYS)
def test_reference_has_type_and_default_of_a_key(name: str) -> None:
    key, row = FLAT_KEYS[name], ROWS[name]
    default = json.dumps(key.default) if not isinstance(key.default, str) else key.default
    assert row.meaning
    assert row.type == TYPES[key.kind]
    assert row.default == (f"`{default}`" if default else "")


@pytest.mark.parametrize("name", FLAT_KEYS)
def test_example_of_a_key_is_accepted(name: str) -> None:
    value = json.loads(ROWS[name].example.strip("`"))
    for part in reversed(name.split(".")):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    problems = Problems(False, [])
    assert read_members(value, KEYS, Place("", "", problems)).has(name.split(".")[0].removesuffix("[]"))
    assert problems.warnings == []


def test_example_of_a_whole_configuration_is_accepted() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    config = loaded(json.loads(example)["ipam"])
    assert config.warnings == ()
    assert config.ranges[0].range.capacity() == 9


def test_reference_names_the_places_of_the_flat_file_and_the_words_that_are_known() -> None:
    assert re.findall(r"\d\. `(/.*)`", PAGE) == list(FLAT_FILES)
    for word in (*DATASTORES, *LOG_LEVELS):
        assert f"`{word}`" in PAGE
