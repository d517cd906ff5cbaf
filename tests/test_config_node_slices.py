"""Which ranges of a configuration are cut into node slices, how, and under which names."""

from typing import Any

import pytest

from tests.config_cases import flat, loaded
from whereabouts.config import ConfigError
from whereabouts.slices import SliceRule

V4, V6 = {"range": "10.0.0.0/20"}, {"range": "fd00::/112"}


def rules(ipam: dict[str, Any], **how: Any) -> list[SliceRule | None]:
    return [one.slices for one in loaded(ipam, **how).ranges]


def refusal(ipam: dict[str, Any], **how: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(ipam, **how)
    return str(caught.value)


def test_without_a_size_nothing_is_cut() -> None:
    assert rules({**V4, "ipRanges": [V6]}) == [None, None]


@pytest.mark.parametrize(("size", "prefixlen"), [("/26", 26), ("26", 26), ("20", 20)])
def test_a_size_may_have_a_slash_and_is_kept_as_it_was_written(size: str, prefixlen: int) -> None:
    assert rules({**V4, "node_slice_size": size}) == [SliceRule("net", prefixlen, size)]


def test_the_pool_of_the_first_range_is_called_after_the_network_name_else_the_network() -> None:
    both = {**V4, "ipRanges": [V6], "node_slice_size": "/26"}
    assert [rule.pool for rule in rules(both) if rule] == ["net", "net-fd00---112"]
    named = rules({**both, "network_name": "blue"})
    assert [rule.pool for rule in named if rule] == ["blue", "blue-fd00---112"]


def test_further_ranges_are_cut_into_as_many_slices_as_the_first() -> None:
    ipam = {**V4, "ipRanges": [V6, {"range": "10.1.0.0/16"}], "node_slice_size": "/26"}
    assert [rule.size for rule in rules(ipam) if rule] == ["/26", "/118", "/22"]
    only = {"ipRanges": [V6, V4], "node_slice_size": "/118"}
    assert [rule.size for rule in rules(only) if rule] == ["/118", "/26"]


def test_a_range_of_ip_ranges_may_have_a_size_of_its_own() -> None:
    own = {**V6, "node_slice_size": "120"}
    assert rules({**V4, "ipRanges": [own]}) == [None, SliceRule("net-fd00---112", 120, "120")]
    ipam = {**V4, "ipRanges": [own, {"range": "10.1.0.0/16"}], "node_slice_size": "/26"}
    assert [rule.size for rule in rules(ipam) if rule] == ["/26", "120", "/22"]
    first = {"ipRanges": [own, V4], "node_slice_size": "/118"}
    assert [rule.size for rule in rules(first) if rule] == ["120", "/28"]


def test_the_size_may_stand_in_the_flat_file() -> None:
    assert rules(V4, files=flat(node_slice_size="/26")) == [SliceRule("net", 26, "/26")]


BAD_TEXTS = ["/", "x", "/0", "//24", "24/", "-1", "/129", "2\u0664", "9" * 5000, " 24"]


@pytest.mark.parametrize("size", BAD_TEXTS)
def test_a_size_that_is_no_prefix_length_is_refused(size: str) -> None:
    refused = refusal({**V4, "node_slice_size": size})
    assert refused.startswith("invalid node_slice_size ")
    assert len(refused) < 800
    assert rules({**V4, "node_slice_size": size}, lenient=True) == [None]


@pytest.mark.parametrize(
    ("ipam", "words"),
    [
        ({**V4, "node_slice_size": "/19"}, "slices of /19 are larger than the range 10.0.0.0/20"),
        ({**V4, "node_slice_size": "/31"}, "the smallest are of /30"),
        ({**V6, "node_slice_size": "/26"}, "slices of /26 are larger than the range fd00::/112"),
        ({"range": "10.0.0.0/8", "node_slice_size": "/30"}, "take slices of /21 or larger"),
        ({**V4, "ipRanges": [{**V6, "node_slice_size": "/20"}]}, '(key "ipRanges[0].node_slice_size")'),
        (
            {**V4, "ipRanges": [{"range": "fd00::/124"}], "node_slice_size": "/26"},
            'invalid node_slice_size "/130" for range fd00::/124: slices of /130 have no address to give',
        ),
        (
            {**V4, "ipRanges": [{"range": "fd00::/124"}], "node_slice_size": "/26"},
            "ipRanges[0] may have a node_slice_size of its own",
        ),
    ],
)
def test_a_size_that_does_not_fit_its_range_is_refused_with_key_and_value(
    ipam: dict[str, Any], words: str
) -> None:
    assert words in refusal(ipam)
    config = loaded(ipam, lenient=True)
    assert any(words in warning for warning in config.warnings)


def test_slices_of_a_network_without_a_name_are_refused() -> None:
    assert "set network_name" in refusal({**V4, "node_slice_size": "/26"}, network="")
    assert rules({**V4, "node_slice_size": "/26", "network_name": "blue"}, network="")[0] is not None


def test_a_size_that_has_nothing_to_act_upon_is_warned_about() -> None:
    assert "node_slice_size has no effect without a range" in loaded({"node_slice_size": "/26"}).warnings
