"""Packed owners: what goes in comes out, and nothing else is taken for owners."""

import random
import struct
import uuid
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.owners import MAX_OWNERS, MAX_TEXT, Owner, OwnersError, pack, unpack

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
    # 32 bytes of container ID, 16 of UID, 2 of time, one of node, the pod's number: no hexadecimal text.
    assert len(pack(typical(256))) < 256 * 57


def pods_of_a_cluster(count: int) -> list[Owner]:
    """Owners with the names of pods and nodes as a cluster with many deployments gives them."""
    dice = random.Random(5)
    letters = "bcdfghjklmnpqrstvwxz2456789"
    deployments = [f"team-{n % 4}/app-{n}-{''.join(dice.choices(letters, k=10))}" for n in range(60)]
    return [
        owner._replace(
            pod_ref=f"{dice.choice(deployments)}-{''.join(dice.choices(letters, k=5))}",
            node=f"ip-10-0-{dice.randrange(8)}-{dice.randrange(256)}.eu-central-1.compute.internal",
        )
        for owner in typical(count)
    ]


def test_names_with_parts_in_common_take_little_room() -> None:
    owners = pods_of_a_cluster(240)
    assert unpack(pack(owners)) == owners
    names = sum(len(owner.pod_ref) + len(owner.node) for owner in owners)
    assert len(pack(owners)) < 240 * 50 + names // 5


def test_a_pods_several_interfaces_share_their_identifiers() -> None:
    owners = [owner._replace(ifname=f"net{n}") for owner in typical(64) for n in range(4)]
    assert unpack(pack(owners)) == owners
    assert len(pack(owners)) < 64 * 60 + 256 * 7


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


def column(data: bytes, wanted: int) -> tuple[int, int, int]:
    """Where the column of that number begins in packed owners, its kind, and the size of its body."""
    at = 2
    for _ in range(wanted):
        at += 5 + int.from_bytes(data[at + 1 : at + 5], "little")
    return at, data[at], int.from_bytes(data[at + 1 : at + 5], "little")


def with_column(data: bytes, wanted: int, kind: int, body: bytes) -> bytes:
    """Packed owners with another column in the place of one."""
    at, _, size = column(data, wanted)
    return data[:at] + struct.pack("<BI", kind, len(body)) + body + data[at + 5 + size :]


def deflated(text: bytes) -> bytes:
    return zlib.compress(text, 9, -15)


def test_a_deflated_column_that_grows_too_large_is_refused_before_it_does() -> None:
    packed, names = pack(typical(8)), b"\0".join(b"%d" % n for n in range(8))
    assert unpack(with_column(packed, 0, 1, deflated(names)))[7].pod_ref == "7"
    for size in (MAX_TEXT + 1, 1 << 26):
        with pytest.raises(OwnersError, match="does not end where it should"):
            unpack(with_column(packed, 0, 1, deflated(names.ljust(size, b"x"))))


def test_a_column_too_large_to_be_deflated_is_stored_as_it_is() -> None:
    owners = [owner._replace(network=owner.pod_uid * 40) for owner in typical(128)]
    assert unpack(pack(owners)) == owners


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b"a\0b"),
        (0, b"a\0b\0c\0d"),
        (0, b"a\0\xff\0c"),
        (1, b""),
        (1, b"no deflated text"),
        (1, deflated(b"a\0b\0c")[:-1]),
        (1, deflated(b"a\0b\0c") + b"x"),
        (1, deflated(b"a\0b\0\xff")),
        (2, b""),
        (3, b""),
        (3, b"\1\0\0"),
        (3, b"\1\0\0\0"),
        (3, b"\1\0\0\1\0a"),
        (3, b"\2\0\1\0\0a"),
        (3, b"\1\0\0\0\3\1\0\0a"),
        (3, b"\1\0\0\0\4\0\0\0\0"),
        (4, b"\17\0\0\0\0"),
        (5, b"a\0b\0c"),
        (255, b""),
    ],
)
def test_a_damaged_column_is_one_error(kind: int, body: bytes) -> None:
    with pytest.raises(OwnersError, match="cannot be read"):
        unpack(with_column(pack(typical(3)), 0, kind, body))


@pytest.mark.parametrize(
    ("kind", "body"),
    [(4, b""), (4, b"\17\0\0\0"), (4, b"\17\0\0\0\0\0"), (4, b"\37\0\0\0\0"), (0, b"a\0b\0c")],
)
def test_damaged_times_are_one_error(kind: int, body: bytes) -> None:
    packed = pack(typical(3))
    assert [owner.created for owner in unpack(with_column(packed, 7, 4, b"\17\1\0\0\2"))] == [0x2000001] * 3
    with pytest.raises(OwnersError, match="cannot be read"):
        unpack(with_column(packed, 7, kind, body))


@given(st.integers(0, 7), st.integers(0, 6), st.binary(max_size=60), st.booleans())
def test_any_column_is_read_or_one_error(number: int, kind: int, body: bytes, deflate: bool) -> None:
    with suppress(OwnersError):
        unpack(with_column(pack(typical(3)), number, kind, deflated(body) if deflate else body))


def test_a_cut_or_longer_text_is_refused() -> None:
    packed = pack(typical(5))
    for size in range(len(packed)):
        with pytest.raises(OwnersError):
            unpack(packed[:size])
    with pytest.raises(OwnersError):
        unpack(packed + b"\0")
