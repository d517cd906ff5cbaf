"""Packed owners: what goes in comes out, and nothing else is taken for owners."""

import random
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.owners import MAX_OWNERS, Owner, OwnersError, pack, unpack

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
hexadecimals = st.binary(min_size=32, max_size=32).map(bytes.hex)
owners = st.builds(
    Owner,
    pod_ref=texts,
    pod_uid=st.one_of(st.just(""), st.uuids().map(str), texts),
    container_id=st.one_of(hexadecimals, texts),
    ifname=st.sampled_from(["net1", "net2", ""]),
    node=st.sampled_from(["node-1", "node-2", ""]),
    network=texts,
    range=st.sampled_from(["10.0.0.0/16", "fd00::/64"]),
    created=st.integers(0, 2**32 - 1),
)


def typical(count: int, seed: int = 1) -> list[Owner]:
    dice = random.Random(seed)
    return [
        Owner(
            pod_ref=f"default/web-{dice.randrange(10**6)}",
            pod_uid=str(uuid.UUID(int=dice.getrandbits(128))),
            container_id=dice.randbytes(32).hex(),
            ifname="net1",
            node=f"node-{dice.randrange(64)}",
            network="macvlan",
            range="10.0.0.0/16",
            created=1_700_000_000 + index,
        )
        for index in range(count)
    ]


@given(st.lists(owners, max_size=40))
def test_what_is_packed_is_unpacked(some: list[Owner]) -> None:
    assert unpack(pack(some)) == some


@pytest.mark.parametrize("count", [0, 1, 2, 255, MAX_OWNERS])
def test_a_block_of_typical_owners_is_unpacked(count: int) -> None:
    assert unpack(pack(typical(count))) == typical(count)


def test_identifiers_are_stored_as_the_bytes_they_spell() -> None:
    # 32 bytes of container ID, 16 of UID, 4 of time, the pod's name, one of node: no hexadecimal text.
    assert len(pack(typical(256))) < 256 * 84


def test_a_text_that_looks_hexadecimal_but_is_not_canonical_survives() -> None:
    odd = [owner._replace(container_id="AB" * 32, pod_uid="0" * 36) for owner in typical(3)]
    assert unpack(pack(odd)) == odd


def test_more_owners_than_a_block_has_addresses_are_refused() -> None:
    with pytest.raises(OwnersError, match="at most 256"):
        pack(typical(257))


@pytest.mark.parametrize(
    "damage", [{"pod_ref": "a\0b"}, {"created": -1}, {"created": 2**32}, {"node": "\ud800"}]
)
def test_an_owner_that_cannot_be_stored_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(OwnersError, match="cannot be stored"):
        pack([*typical(4), typical(1)[0]._replace(**damage)])  # type: ignore[arg-type]


@given(st.binary(max_size=400))
def test_any_bytes_are_owners_or_one_error(data: bytes) -> None:
    with suppress(OwnersError):
        unpack(data)


@given(st.data())
def test_a_changed_byte_gives_other_owners_or_one_error(data: st.DataObject) -> None:
    packed = bytearray(pack(typical(8)))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with suppress(OwnersError):
        assert len(unpack(bytes(packed))) <= MAX_OWNERS


def test_a_cut_or_longer_text_is_refused() -> None:
    packed = pack(typical(5))
    for size in range(len(packed)):
        with pytest.raises(OwnersError):
            unpack(packed[:size])
    with pytest.raises(OwnersError):
        unpack(packed + b"\0")
