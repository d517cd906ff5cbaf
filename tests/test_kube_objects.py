"""Objects that somebody else than this project wrote, or altered, in the place of ours."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.store_contract import block_with
from whereabouts.block import BlockKey, Space
from whereabouts.pool import PoolKey
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_objects import Marks
from whereabouts.stores.kube_upstream import allocations_of

KEY = BlockKey.of(Space(), ip_address("10.0.1.0"))


def block_object(**spec: str) -> Any:
    content = objects.block_object(block_with(KEY, 1, 7), {})
    content["metadata"]["resourceVersion"] = "1"
    content["spec"].update(spec)
    return content


@pytest.mark.parametrize("owners", ["é", "====", "QUJD", ""])
def test_owners_that_are_no_base64_are_damage_and_not_the_end_of_a_listing(owners: str) -> None:
    stored = objects.read_block(KEY, block_object(owners=owners))
    assert stored.block is None
    assert stored.raw[1] == ("owners", owners.encode())


def test_a_bitmap_that_is_no_base64_is_damage() -> None:
    content = block_object()
    content["metadata"]["annotations"][objects.ALLOCATED] = "g1:é"
    assert objects.read_block(KEY, content).block is None
    assert objects.read_bitmap(content["metadata"]) is None


def test_an_object_of_more_or_fewer_addresses_is_no_block() -> None:
    assert objects.key_of_block(block_object()) == KEY
    for cidr, name in (
        ("10.0.1.0/25", "10.0.1.0"),
        ("10.0.1.128/25", "10.0.1.128"),
        ("10.0.0.0/16", "10.0.0.0"),
    ):
        content = block_object(cidr=cidr)
        content["metadata"]["name"] = name
        assert objects.key_of_block(content) is None
    assert objects.key_in_space(Space(), 4, "10.0.1.0") == KEY
    assert objects.key_in_space(Space(), 4, "10.0.1.128") is None


@pytest.mark.parametrize("number", ["9" * 5000, "²", "٣", "-1", "1.5", ""])
def test_numbers_that_are_none_of_ours_count_as_none(number: str) -> None:
    assert objects.read_withdrawn({"annotations": {objects.WITHDRAWN: number}}) == 0
    marks = objects.read_marks({"annotations": {objects.HINTED: f"a={number} b=5!{number or 'x'} c=7!2"}})
    assert marks == {"c": Marks(7, 2)}


def test_a_key_of_any_length_among_the_go_plugins_allocations_is_passed_over() -> None:
    entry = {"id": "c", "podref": "default/a"}
    content = {"spec": {"range": "10.0.0.0/24", "allocations": {"9" * 5000: entry, "7": entry}}}
    assert list(allocations_of(PoolKey("", "10.0.0.0/24"), content, 0)) == ["7"]
