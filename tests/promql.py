"""Which series a query of Prometheus asks for: as much of the language as that takes."""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<grouping>\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?P<labels>[^()]*)\))
    |(?P<selector>[A-Za-z_:][\w:]*)\s*(?P<matchers>\{(?:[^{}"]|"(?:\\.|[^"\\])*")*\})?(?P<call>\s*\()?
    |"(?:\\.|[^"\\])*"
    |\[[^\]]*\]
    |\d[\w.]*
    |.""",
    re.VERBOSE | re.DOTALL,
)
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"')
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_AGGREGATIONS = {"sum", "min", "max", "avg", "count", "quantile", "topk", "bottomk", "group", "stddev"}


class Selector(NamedTuple):
    """A series that is asked for."""

    name: str
    matchers: dict[str, str]
    """What its labels are compared with."""


class Query(NamedTuple):
    """What stands in a query."""

    selectors: list[Selector]
    grouping: set[str]
    """The labels that it groups by or matches on."""


def parse(text: str) -> Query:
    """The series and labels that a query names."""
    selectors, grouping = [], set()
    for token in _TOKEN.finditer(text):
        if token["grouping"]:
            grouping |= {label.strip() for label in token["labels"].split(",") if label.strip()}
        name = token["selector"]
        if name and not token["call"] and name.lower() not in _WORDS | _AGGREGATIONS:
            found = _MATCHER.findall(token["matchers"] or "")
            selectors.append(Selector(name, {label: value for label, _, value in found}))
    return Query(selectors, grouping)
