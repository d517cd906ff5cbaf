"""A plugin must not run in the container's own network namespace."""

import pytest

from whereabouts.cni.errors import CniError
from whereabouts.cni.netns import check_netns


def test_same_namespace_is_refused() -> None:
    with pytest.raises(CniError) as caught:
        check_netns((4, 100), (4, 100), override=False)
    expected = (8, "plugin's netns and netns from CNI_NETNS should not be the same")
    assert (caught.value.code, caught.value.msg) == expected


@pytest.mark.parametrize("other", [(4, 101), (5, 100), None])
def test_other_or_missing_namespace_is_accepted(other: tuple[int, int] | None) -> None:
    check_netns((4, 100), other, override=False)


def test_override_accepts_the_same_namespace() -> None:
    check_netns((4, 100), (4, 100), override=True)
