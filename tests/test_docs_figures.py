"""Figures and names of metrics that the documents state are those of the program."""

import json
import math
import re
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest

from bench.report.glance import BEGIN, END
from tests.documents import PAGES, ROOT, name_of
from tests.served_metrics import families
from whereabouts.block import Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.ranges import Range
from whereabouts.stores.etcd_values import write_block
from whereabouts.stores.kube_objects import block_object

CAPACITY = (ROOT / "docs/capacity.md").read_text()
STATED_WITHIN = 0.03


def holder(number: int) -> Owner:
    """The owner that the page speaks of: a pod with a UID and a container ID like no other."""
    digest = sha256(str(number).encode()).hexdigest()
    uid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    name = f"team-a/web-{digest[:10]}-{digest[10:15]}"
    return Owner(
        name, uid, digest, "net1", f"node-{number % 40}", "macvlan", "10.0.0.0/16", 1_700_000_000 + number
    )


def numbers(row: str) -> list[int]:
    return [int(text.replace(",", "")) for text in re.findall(r"[\d,]+", row)]


SIZES = [numbers(row) for row in re.findall(r"^\| [\d,]+ \| [\d,]+ \| [\d,]+ \|$", CAPACITY, re.MULTILINE)][
    :4
]


@pytest.mark.parametrize(("used", "in_kubernetes", "in_etcd"), SIZES)
def test_sizes_of_a_block_are_as_stated(used: int, in_kubernetes: int, in_etcd: int) -> None:
    key = BlockKey.of(Space(), ip_address("10.0.3.0"))
    block = Block(key, {offset: holder(offset) for offset in range(1, used + 1)})
    stored = json.dumps(block_object(block, {}), separators=(",", ":"))
    assert len(stored) == pytest.approx(in_kubernetes, rel=STATED_WITHIN)
    assert len(write_block(block)) == pytest.approx(in_etcd, rel=STATED_WITHIN)


@pytest.mark.parametrize("prefixlen", [24, 20, 16, 12])
def test_addresses_and_blocks_of_a_range_are_as_stated(prefixlen: int) -> None:
    (row,) = re.findall(rf"^\| /{prefixlen} \|(.*)\|$", CAPACITY, re.MULTILINE)
    addresses, blocks = numbers(row)[:2]
    assert addresses == Range.parse(f"10.0.0.0/{prefixlen}").capacity()
    assert blocks == math.ceil(addresses / 255)


def _metrics(text: str) -> Iterator[str]:
    """Names of metrics, without what Prometheus puts behind them."""
    for name in re.findall(r"\bwhereabouts_[a-z_]+[a-z]\b(?!\.)", text):
        yield re.sub(r"_(total|bucket|sum|count)$", "", name)


def _served() -> Iterator[str]:
    """Names of the metrics of agent and controller."""
    for family in families():
        yield family.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_metrics_that_a_page_names_exist(page: Path) -> None:
    assert set(_metrics(page.read_text())) - set(_served()) == set()


def test_figures_of_the_readme_are_those_of_the_results() -> None:
    """Which make bench-report writes; beside them the README's section has none."""
    section = (ROOT / "README.md").read_text().partition("## How fast it is\n")[2].partition("\n## ")[0]
    before, begin, rest = section.partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin
    assert end
    assert re.findall(r"\d", before + after) == []
    assert table.strip() in (ROOT / "docs/results.md").read_text()


def test_every_table_of_the_results_has_its_command() -> None:
    """Between two commands there is nothing but what the second one measures, or a new section."""
    results = (ROOT / "docs/results.md").read_text()
    for section in results.split("\n## ")[1:]:
        heading, tables = section.partition("\n")[0], section.count("\n| --- |")
        if heading not in ("The machine", "At a glance", "Promises"):
            behind_the_last = section.rpartition("```console needs-checkout\n")[2]
            assert "| --- |" not in behind_the_last, heading
            assert not tables or "```console needs-checkout\n$ " in section, heading
