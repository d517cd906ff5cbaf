"""The list that decides what GC may free."""

import pytest

from whereabouts.cni.attachments import valid_attachments
from whereabouts.cni.errors import CniError

KEY = "cni.dev/valid-attachments"
OLD_KEY = "cni.dev/attachments"


def refusal(config: dict[str, object]) -> str:
    with pytest.raises(CniError) as caught:
        valid_attachments(config)
    assert caught.value.code == 7
    return caught.value.msg


@pytest.mark.parametrize("key", [KEY, OLD_KEY, "CNI.dev/Valid-Attachments"])
def test_attachments_are_pairs_of_container_and_interface(key: str) -> None:
    listed = [{"containerID": "a", "ifname": "net1"}, {"containerID": "a", "ifname": "net2"}]
    assert valid_attachments({key: listed}) == {("a", "net1"), ("a", "net2")}


def test_attachment_keys_are_found_with_other_capitals() -> None:
    assert valid_attachments({KEY: [{"containerId": "a", "ifName": "net1"}]}) == {("a", "net1")}


def test_attachment_is_valid_if_either_key_lists_it() -> None:
    config: dict[str, object] = {
        KEY: [{"containerID": "a", "ifname": "net1"}],
        OLD_KEY: [{"containerID": "b", "ifname": "net1"}],
    }
    assert valid_attachments(config) == {("a", "net1"), ("b", "net1")}


@pytest.mark.parametrize("listed", [[], None])
def test_list_that_is_there_and_empty_means_that_nothing_is_valid(listed: object) -> None:
    assert valid_attachments({KEY: listed, OLD_KEY: listed}) == frozenset()


def test_missing_list_is_never_an_empty_one() -> None:
    expected = f"missing {KEY}: GC needs the list of attachments that are still valid"
    assert refusal({"name": "blue"}) == expected


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ({}, f'key "{KEY}": expected a list, found an object'),
        ("", f'key "{KEY}": expected a list, found a string'),
        ([None], f"{KEY}[0]: expected an object, found null"),
        (["a"], f"{KEY}[0]: expected an object, found a string"),
        ([{}], f"{KEY}[0]: containerID and ifname must both be given"),
        ([{"containerID": "a"}], f"{KEY}[0]: containerID and ifname must both be given"),
        ([{"containerID": "", "ifname": "x"}], f"{KEY}[0]: containerID and ifname must both be given"),
        (
            [{"containerID": "a", "ifname": "x"}, {"containerID": 1, "ifname": "x"}],
            f'{KEY}[1]: key "containerID": expected a string, found a number',
        ),
    ],
)
@pytest.mark.parametrize("other", [{}, {OLD_KEY: []}])
def test_list_with_one_bad_entry_is_not_used(listed: object, reason: str, other: dict[str, object]) -> None:
    assert refusal({KEY: listed, **other}) == f"invalid list of valid attachments: {reason}"
