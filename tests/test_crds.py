"""The custom resource definitions: what they let in, and what they show."""

import json
from typing import Any

import pytest

from .api_server import CRDS, definition, resources
from .cluster_servers import Server

NAMES = {
    "addressblocks": ("AddressBlock", "addressblock", "wblock"),
    "ippools": ("IPPool", "ippool", "wpool"),
    "nodeslicepools": ("NodeSlicePool", "nodeslicepool", "wslice"),
    "overlappingrangeipreservations": (
        "OverlappingRangeIPReservation",
        "overlappingrangeipreservation",
        "worip",
    ),
}

ALLOCATION = {"id": "a" * 64, "podref": "default/web-0", "ifname": "net1"}
VALID: dict[str, tuple[str, dict[str, Any]]] = {
    "a pool as the Go plugin creates it": ("ippools", {"spec": {"range": "10.0.0.0/8", "allocations": {}}}),
    "a pool with allocations": (
        "ippools",
        {"spec": {"range": "10.0.0.0/8", "allocations": {"1": ALLOCATION}}},
    ),
    "an allocation without an interface": (
        "ippools",
        {"spec": {"range": "10.0.0.0/8", "allocations": {"1": {"id": "a", "podref": ""}}}},
    ),
    "an allocation from before podref": (
        "ippools",
        {"spec": {"range": "10.0.0.0/8", "allocations": {"1": {"id": "a"}}}},
    ),
    "a range with host bits": (
        "ippools",
        {"spec": {"range": "2001:1b74:480:60b1::10/64", "allocations": {}}},
    ),
    "a mapped range": ("ippools", {"spec": {"range": "::ffff:10.0.0.0/120", "allocations": {}}}),
    "a pool without spec": ("ippools", {}),
    "an offset that wrapped": (
        "ippools",
        {"spec": {"range": "10.0.0.0/24", "allocations": {"18446463705355360228": ALLOCATION}}},
    ),
    "a reservation": (
        "overlappingrangeipreservations",
        {"spec": {"podref": "default/web-0", "ifname": "net1"}},
    ),
    "a reservation of v0.5": (
        "overlappingrangeipreservations",
        {"spec": {"containerid": "a", "podref": "x/y"}},
    ),
    "a reservation from before podref": ("overlappingrangeipreservations", {"spec": {"containerid": "a"}}),
    "node slices": (
        "nodeslicepools",
        {
            "spec": {"range": "10.0.0.0/8", "sliceSize": "/22"},
            "status": {"allocations": [{"nodeName": "", "sliceRange": "10.0.0.0/22"}]},
        },
    ),
    "a block": (
        "addressblocks",
        {"spec": {"cidr": "10.0.0.0/24", "network": "", "allocated": 256, "owners": ""}},
    ),
    "a block of IPv6": (
        "addressblocks",
        {
            "spec": {
                "cidr": "fd00::/120",
                "network": "x",
                "range": "fd00::/64",
                "allocated": 0,
                "owners": "QQ==",
            }
        },
    ),
}
INVALID: dict[str, tuple[str, dict[str, Any]]] = {
    "a range that is none": ("ippools", {"spec": {"range": "ten", "allocations": {}}}),
    "a pool without allocations": ("ippools", {"spec": {"range": "10.0.0.0/8"}}),
    "an allocation without a container": (
        "ippools",
        {"spec": {"range": "10.0.0.0/8", "allocations": {"1": {"podref": "a/b"}}}},
    ),
    "a reservation without spec": ("overlappingrangeipreservations", {}),
    "slices without a size": ("nodeslicepools", {"spec": {"range": "10.0.0.0/8"}}),
    "a block that is too small": (
        "addressblocks",
        {"spec": {"cidr": "10.0.0.0/25", "network": "", "allocated": 1, "owners": ""}},
    ),
    "a block with too many addresses": (
        "addressblocks",
        {"spec": {"cidr": "10.0.0.0/24", "network": "", "allocated": 257, "owners": ""}},
    ),
    "a block without owners": (
        "addressblocks",
        {"spec": {"cidr": "10.0.0.0/24", "network": "", "allocated": 1}},
    ),
}


def _create(server: Server, plural: str, content: Any) -> Any:
    head = {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": NAMES[plural][0],
        "metadata": {"name": "one"},
    }
    path = resources(server.namespace(), plural)
    return server.call("POST", path, {**head, **json.loads(json.dumps(content))})


def test_what_the_go_plugin_and_we_write_is_let_in(server: Server) -> None:
    for what, (plural, content) in VALID.items():
        reply = _create(server, plural, content)
        assert reply.status == 201, f"{what}: {reply.body}"
        for part, value in content.items():
            if (plural, part) != ("ippools", "status"):
                assert reply.body[part] == value, what


def test_what_nobody_could_use_is_refused(server: Server) -> None:
    for what, (plural, content) in INVALID.items():
        assert _create(server, plural, content).status == 422, what


@pytest.mark.parametrize("plural", NAMES)
def test_names_group_and_version_are_the_go_plugins(plural: str) -> None:
    crd = definition(CRDS / f"whereabouts.cni.cncf.io_{plural}.yaml")
    kind, singular, short = NAMES[plural]
    assert crd["metadata"]["name"] == f"{plural}.whereabouts.cni.cncf.io"
    assert crd["spec"]["group"] == "whereabouts.cni.cncf.io"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": singular,
        "shortNames": [short],
        "categories": ["whereabouts"],
    }
    (version,) = crd["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert ("status" in version.get("subresources", {})) == (plural == "ippools")
    assert version["additionalPrinterColumns"]
