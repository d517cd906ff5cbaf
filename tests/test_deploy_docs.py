"""The page on installation says what is installed."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .accounts import ACCOUNTS, permissions
from .deployment import CHART, ROOT, documents

PAGE = (ROOT / "docs" / "installation.md").read_text()


def _rows(head: str) -> Iterator[list[str]]:
    """The rows of the table with this head."""
    _, found, rest = PAGE.partition(f"{head}\n")
    assert found, f"no table {head}"
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _values(content: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of the chart that a user sets, by their paths."""
    for name, value in content.items():
        group = isinstance(value, dict) and value and name not in ("resources", "nodeSelector")
        if group:
            yield from _values(value, f"{before}{name}.")
        else:
            yield before + name, value


def test_every_value_of_the_chart_is_there_with_its_default() -> None:
    (content,) = documents((CHART / "values.yaml").read_text())
    values = dict(_values(content))
    shown = {row[0].strip("`"): row[1] for row in _rows("| value | default | |")}
    assert shown.keys() == values.keys()
    for name, text in shown.items():
        if text.startswith("`"):
            (default,) = documents(f"value: {text.strip('`')}")
            assert default["value"] == values[name], name
        else:
            assert name.endswith(("resources", "tolerations")), name


def test_the_rights_of_each_account_are_there() -> None:
    shown: dict[tuple[str, bool], set[tuple[str, str]]] = defaultdict(set)
    for account, resources, verbs in _rows("| account | resource | verbs |"):
        name, _, where = account.partition(", ")
        for resource in re.findall(r"`([^`]+)`", resources):
            shown[name.strip("`"), bool(where)] |= {(resource, verb) for verb in verbs.split(", ")}
    given: dict[tuple[str, bool], set[tuple[str, str]]] = defaultdict(set)
    for name in ACCOUNTS:
        for right in permissions(name):
            given[name, right.everywhere].add((right.resource, right.verb))
    assert shown == given


def test_the_files_that_it_names_are_there() -> None:
    for path in re.findall(r"\bdeploy/[\w./-]*\w", PAGE):
        assert (ROOT / path).exists(), path
