"""The file of an export: what is written is read back, and nothing else is taken for it."""

import json
from collections.abc import Iterable, Sequence
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.export_format import (
    Damaged,
    Entry,
    ExportError,
    Header,
    LeftOut,
    Writer,
    read_end,
    read_entries,
)
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool

jsonschema: Any = import_module("jsonschema")
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[1] / "docs" / "export.schema.json").read_text())
)
HEADER = Header("local:/var/lib/whereabouts.db", 1_700_000_000)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
owners = st.builds(Owner, *[texts] * 7, st.integers(0, 2**32 - 1))
networks = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "::/0"])


@st.composite
def keys(draw: st.DrawFn) -> BlockKey:
    version = draw(st.sampled_from([4, 6]))
    own = draw(st.sampled_from(["", "10.0.0.0/8" if version == 4 else "fd00::/8"]))
    bits = 32 if version == 4 else 128
    return BlockKey(Space(draw(texts), own), version, 256 * draw(st.integers(0, 2 ** (bits - 8) - 1)))


blocks = st.builds(Block, keys(), st.dictionaries(st.integers(0, BLOCK_SIZE - 1), owners, max_size=4))
nodes = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)
slices = st.builds(Slice, networks, nodes)
entries: st.SearchStrategy[Entry] = st.one_of(
    blocks,
    st.builds(SlicePool, texts, texts, texts, st.lists(slices, max_size=3).map(tuple)),
    st.builds(lambda name, text, shared: Pool(PoolKey(name, text), shared), texts, networks, st.booleans()),
    st.builds(LeftOut, texts, texts),
    st.builds(
        Damaged,
        keys(),
        texts,
        st.lists(st.tuples(texts, st.binary(max_size=8)), unique_by=lambda part: part[0], max_size=2),
    ),
)


def written(content: Iterable[Entry]) -> list[bytes]:
    lines: list[bytes] = []
    writer = Writer(lines.append)
    writer.add(HEADER)
    for entry in content:
        writer.add(entry)
    writer.finish()
    return lines


def comparable(content: Iterable[Entry]) -> list[object]:
    return [(entry.key, entry.shared) if isinstance(entry, Pool) else entry for entry in content]


@given(st.lists(entries, max_size=5))
def test_what_is_written_is_read_back_and_is_as_the_schema_says(content: Sequence[Entry]) -> None:
    lines = written(content)
    assert comparable(read_entries(lines)) == comparable([HEADER, *content])
    end = read_end(lines)
    assert end.lines == len(content) + 1
    assert end.allocations == sum(len(entry) for entry in content if isinstance(entry, Block))
    for line in lines:
        SCHEMA.validate(json.loads(line))


@given(st.lists(entries, min_size=1, max_size=3), st.data())
def test_a_file_that_was_cut_short_or_altered_is_noticed(
    content: Sequence[Entry], data: st.DataObject
) -> None:
    whole = b"".join(written(content))
    body = whole.rindex(b"\n", 0, -1)
    at = data.draw(st.integers(0, body - 1))
    altered = bytearray(whole)
    altered[at] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (whole[:at], bytes(altered)):
        with pytest.raises(ExportError):
            read_end(wrong.splitlines(keepends=True))


def test_nothing_is_no_export() -> None:
    with pytest.raises(ExportError, match="its last line says no end"):
        read_end([])


SLICES = {"name": "10.0.0.0-8", "range": "10.0.0.0/8", "slice_size": "/24", "slices": []}
BLOCK = {"network_name": "", "own_range": "", "cidr": "10.0.0.0/24", "allocations": []}
ALLOCATION = {"address": "10.0.0.1", "pod_ref": "default/a", "created": 7}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ([], "no object with one key"),
        ({"pool": {}, "block": {}}, "no object with one key"),
        ({"header": {"version": 1, "datastore": "", "exported": 0}}, "the first line, and only that"),
        ({"surprise": {}}, "'surprise' is nothing that version 1 knows"),
        ({"pool": {"network_name": "", "range": "10.0.0.0/8"}}, "KeyError: 'shared'"),
        ({"pool": {"network_name": "", "range": "10.0.0.0/8", "shared": 1}}, "neither true nor false"),
        ({"pool": {"network_name": "", "range": "10.0.0.1/8", "shared": True}}, "has host bits set"),
        ({"pool": {"network_name": "", "range": "::0/8", "shared": True}}, "is not how a network is written"),
        ({"slices": {**SLICES, "slices": 1}}, "slices is no list"),
        ({"slices": {**SLICES, "slices": [{"range": "10.0.0.0", "node": ""}]}}, "10.0.0.0"),
        ({"slices": {**SLICES, "slices": [{"range": "10.0.0.0/24", "node": "a b"}]}}, "no name of a node"),
        ({"block": {**BLOCK, "cidr": "10.0.0.0/25"}}, "is no block"),
        ({"block": {**BLOCK, "own_range": "fd00::/8"}}, "not of the family"),
        ({"block": {**BLOCK, "more": 1}}, "'more' is nothing that version 1 knows there"),
        ({"block": {**BLOCK, "allocations": [ALLOCATION] * 2}}, "10.0.0.1 stands there twice"),
        ({"block": {**BLOCK, "allocations": [{**ALLOCATION, "address": "10.0.1.1"}]}}, "is not in block"),
        ({"block": {**BLOCK, "allocations": [{**ALLOCATION, "node": None}]}}, "None should be a text"),
        ({"block": {**BLOCK, "allocations": [{**ALLOCATION, "node": "a\0"}]}}, "without NUL"),
        ({"block": {**BLOCK, "allocations": [{**ALLOCATION, "node": "\ud800"}]}}, "halves of characters"),
        ({"block": {**BLOCK, "network_name": "\udfff"}}, "halves of characters"),
        ({"block": {**BLOCK, "allocations": [{**ALLOCATION, "created": -1}]}}, "number of seconds"),
        ({"block": {**BLOCK, "allocations": {}}}, "allocations is no list"),
        (
            {
                "damaged": {
                    "network_name": "",
                    "own_range": "",
                    "cidr": "::/120",
                    "damage": "",
                    "raw": {"a": "!"},
                }
            },
            "raw: ",
        ),
    ],
)
def test_a_line_that_is_not_as_described_is_named_with_the_reason(line: Any, reason: str) -> None:
    lines = [*written([])[:1], json.dumps(line).encode()]
    with pytest.raises(ExportError, match=r"^line 2: ") as caught:
        list(read_entries(lines))
    assert reason in str(caught.value)


def test_a_line_that_nests_without_end_is_named() -> None:
    deep = b'{"pool":' + b"[" * 100_000
    with pytest.raises(ExportError, match=r"^line 2: "):
        list(read_entries([*written([])[:1], deep]))
    with pytest.raises(ExportError, match="its last line says no end"):
        read_end([deep])


def test_a_version_of_the_future_is_refused() -> None:
    line = json.dumps({"header": {"version": 2, "all": "new"}}).encode()
    with pytest.raises(ExportError, match="it is of version 2, this program knows 1"):
        list(read_entries([line]))


def test_the_schema_allows_nothing_else() -> None:
    lines = written([Block(BlockKey.of(Space(), ip_network("10.0.0.0/24")[0]), {})])
    for line in lines:
        ((kind, value),) = json.loads(line).items()
        wrongs: list[Any] = [{kind: {**value, "more": 1}}, {kind: value, "more": 1}, {kind: {}}]
        for wrong in wrongs:
            with pytest.raises(jsonschema.ValidationError):
                SCHEMA.validate(wrong)
