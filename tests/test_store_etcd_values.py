"""What the etcd store says and reads, without a server: messages, keys, values, endpoints, failures."""

from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store_contract import block_with
from whereabouts.block import BLOCK_SIZE, BlockDamaged, BlockKey, Space
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import StoreDamaged
from whereabouts.stores import etcd_failures as failures
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd_endpoints import Endpoint, EndpointError, parse_endpoints
from whereabouts.stores.etcd_keys import Keys, block_name

KEYS = Keys("/p/")
texts = st.text(max_size=12)
networks = st.one_of(
    st.builds(
        lambda base, bits: str(ip_network((base, bits), strict=False)),
        st.ip_addresses(v=4),
        st.integers(0, 32),
    ),
    st.builds(
        lambda base, bits: str(ip_network((base, bits), strict=False)),
        st.ip_addresses(v=6),
        st.integers(0, 128),
    ),
)
spaces = st.builds(Space, texts, st.one_of(st.just(""), networks))
block_keys = st.builds(BlockKey.of, spaces, st.ip_addresses())


# ----------------------------------------------------------------------- keys


@given(block_keys)
def test_a_block_is_read_back_from_each_of_its_keys(key: BlockKey) -> None:
    assert KEYS.block_at(KEYS.block(key), KEYS.blocks()) == key
    assert KEYS.block_at(KEYS.bitmaps() + block_name(key), KEYS.bitmaps()) == key


@given(texts, texts, texts, texts)
def test_no_text_reaches_into_the_place_of_another(one: str, two: str, three: str, four: str) -> None:
    same = (one, two) == (three, four)
    for place in (KEYS.pod, KEYS.attachment):
        assert (place(one, two) == place(three, four)) is same
        assert same or not place(one, two).startswith(place(three, four))
    assert (KEYS.pool(PoolKey(one, two)) == KEYS.pool(PoolKey(three, four))) is same
    assert KEYS.pools(one) == KEYS.pools(three) or not KEYS.pools(one).startswith(KEYS.pools(three))


@given(spaces, st.ip_addresses(), st.ip_addresses(), st.ip_addresses())
def test_bitmaps_between_two_addresses_are_one_range_of_keys(
    space: Space, one: object, first: object, last: object
) -> None:
    key = BlockKey.of(space, ip_address(str(one)))
    size = 2 ** (32 if key.version == 4 else 128)
    low, high = sorted((int(ip_address(str(first))) % size, int(ip_address(str(last))) % size))
    start, end = KEYS.bitmaps_between(space, key.version, low, high)
    assert (start <= KEYS.bitmaps() + block_name(key) < end) is (low <= key.base <= high)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "note",
        "-/-/4/10.1.2.0",
        "-/-/4/010.001.002.007",
        "-/-/6/010.001.002.000",
        "-/-/4/010.001.002.000/x",
        "-/-/4/999.001.002.000",
        "-/-/6/fd00::",
        "-/%/4/010.001.002.000",
        "-/%zz/4/010.001.002.000",
        "\udcff",
    ],
)
def test_a_key_that_names_no_block_is_none(name: str) -> None:
    key = KEYS.blocks() + name.encode(errors="surrogateescape")
    assert KEYS.block_at(key, KEYS.blocks()) is None


# --------------------------------------------------------------------- values


@given(st.sets(st.integers(0, 255), max_size=40), block_keys)
def test_a_block_is_read_back_from_its_value(offsets: set[int], key: BlockKey) -> None:
    block = block_with(key, *sorted(offsets))
    value = values.write_block(block)
    assert values.read_block(key, value) == block
    assert values.write_block(values.read_block(key, value)) == value


@given(st.data())
def test_a_changed_value_is_damaged_or_says_the_same(data: st.DataObject) -> None:
    key = BlockKey(Space(), 4, 10 * BLOCK_SIZE)
    block = block_with(key, 1, 2, 200)
    value = bytearray(values.write_block(block))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] = data.draw(st.integers(0, 255))
    with suppress(BlockDamaged):
        assert values.read_block(key, bytes(value)) == block


@given(texts.filter(lambda text: "\0" not in text), networks, st.booleans())
def test_a_pool_is_read_back_from_its_value(network_name: str, range_text: str, shared: bool) -> None:
    pool = Pool(PoolKey(network_name, range_text), shared)
    base = int(ip_network(range_text).network_address) & ~(BLOCK_SIZE - 1)
    pool = pool.with_exhausted("view", [base])
    read = values.read_pool(b"key", values.write_pool(pool))
    assert (read.key, read.shared, read.hints()) == (pool.key, pool.shared, pool.hints())


@given(st.binary(max_size=40))
def test_bytes_that_are_no_pool_are_damaged(value: bytes) -> None:
    with pytest.raises(StoreDamaged, match="etcd key key holds no pool"):
        values.read_pool(b"key", value)


# ------------------------------------------------------------------- messages


@given(st.binary(max_size=64))
def test_bytes_that_are_no_answer_are_refused_or_passed_over(data: bytes) -> None:
    with suppress(messages.MessageError):
        messages.outcome(data)
        messages.token(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", messages.Outcome(0, False, [])),
        # header {revision: 300} succeeded: true; a put's answer holds no reads
        ("0a0318ac02 1001 1a0212 00", messages.Outcome(300, True, [])),
        # unknown fields of every wire type
        ("7d00000000 7900000000000000007a0100 7001 1001", messages.Outcome(0, True, [])),
        # revision -1
        ("0a0b18ffffffffffffffffff01", messages.Outcome(-1, False, [])),
    ],
)
def test_answers_are_read_as_etcd_writes_them(data: str, expected: messages.Outcome) -> None:
    assert messages.outcome(bytes.fromhex(data)) == expected


def test_the_pairs_of_a_read_are_read() -> None:
    pair = bytes.fromhex("0a016b 1001 1805 2002 2a0176")
    read = b"\x12" + bytes([len(pair)]) + pair + bytes.fromhex("1801 2009")
    response = b"\x0a" + bytes([len(read)]) + read
    data = b"\x1a" + bytes([len(response)]) + response
    found = messages.Found([messages.KeyValue(b"k", 5, b"v")], more=True)
    assert messages.outcome(data) == messages.Outcome(0, False, [found])


@pytest.mark.parametrize(
    "data", ["0a05", "08", "ff" * 11, "0b", "1a0108", "10" + "80" * 10, "1201ff", "0801"]
)
def test_answers_that_are_cut_short_or_garbled_are_refused(data: str) -> None:
    with pytest.raises(messages.MessageError):
        messages.outcome(bytes.fromhex(data))


def test_an_answer_without_a_token_is_refused() -> None:
    with pytest.raises(messages.MessageError, match="no token"):
        messages.token(b"")


# ------------------------------------------------------------------ endpoints


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("10.0.0.1:2379", ["10.0.0.1:2379"]),
        ("etcd", ["etcd:2379"]),
        ("http://etcd:1", ["etcd:1"]),
        ("https://etcd/", ["etcd:2379 tls"]),
        ("HTTPS://etcd", ["etcd:2379 tls"]),
        ("a:1, b:2 ,https://c:3,", ["a:1", "b:2", "c:3 tls"]),
        ("[fd00::1]:2380", ["[fd00::1]:2380"]),
        ("[fd00::1]", ["[fd00::1]:2379"]),
        ("fd00::1", ["[fd00::1]:2379"]),
        ("https://[fd00::1]:5", ["[fd00::1]:5 tls"]),
    ],
)
def test_endpoints_are_read(text: str, targets: list[str]) -> None:
    read = parse_endpoints(text, secure=False)
    assert [one.target + " tls" * one.secure for one in read] == targets


def test_an_endpoint_without_a_scheme_is_as_secure_as_the_files_say() -> None:
    assert parse_endpoints("a,http://b,https://c", secure=True) == [
        Endpoint("a:2379", True),
        Endpoint("b:2379", False),
        Endpoint("c:2379", True),
    ]


@pytest.mark.parametrize(
    "text", ["", " , ", "ftp://a", "a:b", "a:", "http://", "a/b", "a b", "[fd00::1]x", "a:²"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(EndpointError, match="etcd_host"):
        parse_endpoints(text, secure=False)


def test_a_password_in_an_endpoint_is_not_repeated() -> None:
    with pytest.raises(EndpointError) as raised:
        parse_endpoints("https://root:secret@etcd:2379", secure=False)
    assert "secret" not in str(raised.value)


# ------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: x", failures.NOT_SENT),
        ("UNAVAILABLE", "DNS resolution failed for etcd:2379: x", failures.NOT_SENT),
        ("UNAVAILABLE", "Socket closed", failures.LOST),
        ("UNAVAILABLE", "etcdserver: no leader", failures.LOST),
        ("UNAVAILABLE", "etcdserver: leader changed", failures.LOST),
        (
            "UNAVAILABLE",
            "etcdserver: request timed out, possibly due to previous leader failure",
            failures.LOST,
        ),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", failures.LOST),
        ("UNKNOWN", "", failures.LOST),
        ("CANCELLED", "", failures.LOST),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", failures.NOT_DONE),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", failures.REFUSED),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", failures.TOKEN),
        ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", failures.TOKEN),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty", failures.TOKEN),
        (
            "INVALID_ARGUMENT",
            "etcdserver: authentication failed, invalid user ID or password",
            failures.REFUSED,
        ),
        ("PERMISSION_DENIED", "etcdserver: permission denied", failures.REFUSED),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", failures.REFUSED),
        ("DATA_LOSS", "etcdserver: corrupt cluster", failures.DAMAGED),
        ("UNIMPLEMENTED", "unknown service", failures.REFUSED),
    ],
)
def test_failures_are_judged(code: str, details: str, kind: str) -> None:
    failure = failures.judge(code, details, "a:1", "user", "/p/")
    assert failure.kind == kind
    assert "etcd" in failure.sentence
    assert "a:1" in failure.sentence


def test_a_user_is_asked_for_where_none_is_set() -> None:
    failure = failures.judge("INVALID_ARGUMENT", "etcdserver: user name is empty", "a:1", "", "/p/")
    assert failure == (failures.REFUSED, "etcd at a:1 asks for a user: set etcd_username and etcd_password")
