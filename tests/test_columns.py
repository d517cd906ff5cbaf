"""Texts of one width: what they have in common is stored once, and nothing else is taken for them."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts._columns import pack_texts, unpack_texts

HEX = "0123456789abcdef"
RANDOM_ENDINGS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own alphabet for the ends of generated names."""


def columns(alphabet: str, most: int = 40) -> st.SearchStrategy[list[str]]:
    """Texts of one width that begin alike."""
    widths = st.integers(0, 24)
    return st.tuples(st.text(string.ascii_letters + "-/", max_size=12), widths).flatmap(
        lambda drawn: st.lists(
            st.text(alphabet, min_size=drawn[1], max_size=drawn[1]).map(drawn[0].__add__),
            min_size=1,
            max_size=most,
        )
    )


@pytest.mark.parametrize(
    "alphabet", [HEX, RANDOM_ENDINGS + "-.", string.ascii_letters + string.digits + "-."]
)
@given(data=st.data())
def test_texts_of_one_width_are_unpacked(alphabet: str, data: st.DataObject) -> None:
    texts = data.draw(columns(alphabet))
    packed = pack_texts(tuple(texts))
    assert packed is not None
    assert unpack_texts(packed, len(texts)) == texts


@pytest.mark.parametrize(("alphabet", "bits"), [(HEX, 4), (RANDOM_ENDINGS, 5), (string.ascii_letters, 6)])
def test_a_character_takes_as_few_bits_as_its_alphabet_needs(alphabet: str, bits: int) -> None:
    texts = tuple(f"default/web-{character * 16}" for character in alphabet)
    packed = pack_texts(texts)
    assert packed is not None
    head = 2 + (28 + 7) // 8 + len("default/web-")
    assert len(packed) == head + (len(texts) * 16 * bits + 7) // 8


def test_dashes_of_uuids_take_no_room() -> None:
    texts = tuple(f"{n:08x}-{n:04x}-{n:04x}-{n:04x}-{n:012x}" for n in (0, 0x9F81, 0xFFFF))
    packed = pack_texts(texts)
    assert packed is not None
    assert unpack_texts(packed, 3) == list(texts)
    assert len(packed) <= 2 + 5 + 36 + 3 * 16


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "bc"),
        ("ä", "ö"),
        ("a", "ä"),
        ("a\0b", "a\0b"),
        ("\0", "a"),
        ("a_", "a/"),
        ("x" * 256,),
        ("a" * 36, "b" * 37),
    ],
)
def test_other_texts_are_left_to_other_forms(texts: tuple[str, ...]) -> None:
    assert pack_texts(texts) is None


@given(st.lists(st.text(max_size=6), min_size=1, max_size=12))
def test_whatever_is_packed_is_unpacked(texts: list[str]) -> None:
    packed = pack_texts(tuple(texts))
    if packed is not None:
        assert unpack_texts(packed, len(texts)) == texts


@pytest.mark.parametrize("count", [1, 2, 255, 256])
@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 254, 255])
def test_every_width_and_number_is_unpacked(width: int, count: int) -> None:
    texts = [
        f"{number * 2654435761:x}".rjust(width, "0")[-width:] if width else "" for number in range(count)
    ]
    packed = pack_texts(tuple(texts))
    assert packed is not None
    assert unpack_texts(packed, count) == texts


@pytest.mark.parametrize("count", [0, 257])
def test_none_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="none or too many"):
        pack_texts(("a",) * count)
    with pytest.raises(ValueError, match="none or too many"):
        unpack_texts(b"\1\0\0a", count)


@given(st.binary(max_size=80), st.integers(1, 256))
def test_any_bytes_are_texts_or_one_error(data: bytes, count: int) -> None:
    with suppress(ValueError):
        texts = unpack_texts(data, count)
        assert len(texts) == count
        assert len(set(map(len, texts))) == 1
        assert "\0" not in "".join(texts)


@given(st.data())
def test_a_changed_byte_gives_other_texts_or_one_error(data: st.DataObject) -> None:
    texts = tuple(data.draw(columns(HEX, most=9)))
    packed = bytearray(pack_texts(texts) or b"")
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with suppress(ValueError):
        assert tuple(unpack_texts(bytes(packed), len(texts))) != texts


@given(columns(RANDOM_ENDINGS))
def test_a_cut_or_longer_column_is_refused(texts: list[str]) -> None:
    packed = pack_texts(tuple(texts)) or b""
    for size in range(len(packed)):
        with pytest.raises(ValueError, match="texts of one width"):
            unpack_texts(packed[:size], len(texts))
    with pytest.raises(ValueError, match="texts of one width"):
        unpack_texts(packed + b"\0", len(texts))
