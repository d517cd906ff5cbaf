"""Objects of the kinds that are stored in Kubernetes, ours and the Go plugin's, as an API server gives them.

An input is one object in JSON. Of what the definitions of the kinds check, the types hold; texts may be
anything. An object is read as each of the kinds, and what was read is written and read again.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from fuzz.json_mutation import mutator
from fuzz.target import Target
from tests.faults import Never
from tests.memory_store import MemoryStore
from whereabouts.addresses import parse_address, parse_network
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_adoption import Adoption
from whereabouts.stores.kube_objects import SLICES
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kube_slices import _name as slices_name
from whereabouts.stores.kube_slices import _stored as stored_slices
from whereabouts.stores.kube_slices import fields
from whereabouts.stores.kube_upstream import allocations_of, holder_of, reservation_name, reserved_address

_TEXTS: Mapping[Any, Any] = {str: str}
_METADATA = {
    "name": str,
    "uid": str,
    "resourceVersion": str,
    "annotations": _TEXTS,
    "labels": _TEXTS,
}
_SHAPES = {
    "block": {"cidr": str, "network": str, "range": str, "allocated": int, "owners": str},
    "pool": {"range": str, "allocations": {str: {"id": str, "podref": str, "ifname": str}}},
    "reservation": {"containerid": str, "podref": str, "ifname": str},
    "slices": {"range": str, "sliceSize": str},
}
_SLICES_STATUS = {"allocations": [{"nodeName": str, "sliceRange": str}]}
_REQUIRED = frozenset(
    {"name", "resourceVersion", "cidr", "network", "allocated", "owners", "range", "allocations", "id"}
)


def conforming(value: Any, shape: Any) -> Any:
    """The value in the types that a kind's definition asks for."""
    if isinstance(shape, type):
        return value if isinstance(value, shape) else shape()
    if isinstance(shape, list):
        return [conforming(item, shape[0]) for item in value] if isinstance(value, list) else []
    value = value if isinstance(value, dict) else {}
    if str in shape:
        return {key: conforming(item, shape[str]) for key, item in value.items()}
    return {
        key: conforming(value.get(key), inner)
        for key, inner in shape.items()
        if key in value or key in _REQUIRED
    }


def check(data: bytes) -> None:
    """Read the object as each of the kinds."""
    try:
        content = json.loads(data)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    metadata = conforming(content.get("metadata"), _METADATA)
    status = conforming(content.get("status"), _SLICES_STATUS)
    read = {
        "block": _check_block,
        "pool": _check_pool,
        "reservation": _check_reservation,
        "slices": _check_slices,
    }
    for kind, shape in _SHAPES.items():
        spec = conforming(content.get("spec"), shape)
        read[kind]({"metadata": metadata, "spec": spec, "status": status})


# -------------------------------------------------------------------------- blocks


def _check_block(content: Any) -> None:
    key = objects.key_of_block(content)
    marks = objects.read_marks(content["metadata"])
    assert objects.read_marks({"annotations": {objects.HINTED: objects.print_marks(marks)}}) == marks
    bitmap = objects.read_bitmap(content["metadata"])
    assert bitmap is None or bitmap.capacity == BLOCK_SIZE
    if key is None:
        return
    name = content["metadata"]["name"]
    assert key.name == name
    assert key.base % BLOCK_SIZE == 0
    assert str(key.cidr) == content["spec"]["cidr"]
    assert objects.key_in_space(key.space, key.version, name) == key
    stored = objects.read_block(key, content)
    if stored.block is None:
        assert stored.damage
        assert stored.raw
        return
    _comes_back(stored.block, marks)
    assert bitmap is not None
    assert list(bitmap) == [offset for offset, _ in stored.block]


def _comes_back(block: Block, marks: objects.BlockMarks) -> None:
    written = objects.block_object(block, marks)
    written["metadata"]["resourceVersion"] = "1"
    assert objects.key_of_block(written) == block.key
    assert objects.read_block(block.key, written).trusted() == block
    assert objects.read_marks(written["metadata"]) == marks


# --------------------------------------------------------------------------- pools


def _check_pool(content: Any) -> None:
    assert objects.read_withdrawn(content["metadata"]) >= 0
    keys = PoolKeys(_One(content), Never())  # type: ignore[arg-type]
    key = keys.of(content)
    if key is None:
        return
    assert objects.pool_name(key) == content["metadata"]["name"] or str(key.range) != content["spec"]["range"]
    for asked in {key, PoolKey(key.network_name, key.range)}:
        if keys.asked_for(content, asked) == asked:
            _check_pool_of(asked, content)


def _check_pool_of(key: PoolKey, content: Any) -> None:
    pool = objects.read_pool(key, content["metadata"])
    again = objects.read_pool(key, {"annotations": objects.pool_annotations(pool, 1)})
    assert (again.hints(), again.shared) == (pool.hints(), pool.shared)
    network = ip_network(key.range)
    for view in pool.exhausted:
        front = pool.fronts.get(view, int(network.network_address))
        assert front <= int(network.broadcast_address)
    found = allocations_of(key, content, 1)
    for address, owner in found.values():
        assert address in network, f"{address} is not in {network}"
        assert "\0" not in "".join(owner[:-1])
    _check_adoption(key, content)


class _One:
    """The :class:`whereabouts.stores.kube_resources.Resources` of a namespace with this one object, and
    another that says the same as a pool of slices."""

    namespace = "kube-system"

    def __init__(self, content: Any) -> None:
        self.content = json.loads(json.dumps(content))
        spec = conforming(self.content["spec"], _SHAPES["slices"])
        self.slices = [{**self.content, "spec": spec}]

    def get(self, plural: str, name: str, deadline: Any) -> Any:
        return self.content

    def list(self, plural: str, deadline: Any) -> list[Any]:
        return self.slices if plural == SLICES else []

    def merge(self, plural: str, name: str, patch: Any, deadline: Any) -> None:
        metadata = self.content["metadata"]
        metadata["annotations"] = _merged(metadata.get("annotations") or {}, patch["metadata"]["annotations"])
        allocations = patch.get("spec", {}).get("allocations", {})
        self.content["spec"]["allocations"] = _merged(self.content["spec"]["allocations"], allocations)


def _merged(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**before, **patch}.items() if value is not None}


def _check_adoption(key: PoolKey, content: Any) -> None:
    """What the Go plugin gave stays given, whether it could be taken over or was left where it is."""
    store, one = MemoryStore(), _One(content)
    before = allocations_of(key, content, 1)
    adoption = Adoption(one, DirectCommitter(store), lambda pool, clash: None)  # type: ignore[arg-type]
    pool = adoption.adopt(key, True, Never())
    assert pool is not None
    held = {stored.key.address(offset) for stored in store.blocks(Never()) for offset, _ in stored.trusted()}
    assert {address for address, _ in before.values()} == held
    left = one.content["spec"]["allocations"]
    assert left == {
        name: entry for name, entry in content["spec"]["allocations"].items() if name not in before
    }


# ------------------------------------------------------------ reservations, slices


def _check_reservation(content: Any) -> None:
    owner = holder_of(content, "10.0.0.0/24", 1)
    block = Block(BlockKey.of(Space(), parse_address("10.0.0.0")), {1: owner})
    assert Block.from_halves(block.key, block.bitmap(), block.owners()) == block
    name = content["metadata"]["name"]
    for network_name in ("", "blue"):
        address = reserved_address(network_name, name)
        assert address is None or reservation_name(network_name, address) == name


def _check_slices(content: Any) -> None:
    name = slices_name(content)
    if name is None:
        return
    pool = stored_slices(name, content).pool
    again = stored_slices(name, {"metadata": content["metadata"], **fields(pool)}).pool
    assert again == pool
    ranges = [parse_network(one.range) for one in pool.slices]
    assert ranges == sorted(ranges, key=lambda network: (network.version, int(network.network_address)))
    for one in pool.slices:
        assert pool.slice_of(one.node) is not None or not one.node


# --------------------------------------------------------------------------- seeds

_OWNER = Owner("default/a", "uid", "c" * 64, "net1", "node-1", "net", "10.0.0.0/16", 1_700_000_000)


def _block_seed(space: Space, address: str, used: int) -> bytes:
    key = BlockKey.of(space, parse_address(address))
    block = Block(key, {offset: _OWNER._replace(container_id=f"{offset:064x}") for offset in range(used)})
    content = objects.block_object(block, {"10.0.0.0-16": objects.Marks(3, 1)})
    content["metadata"]["resourceVersion"] = "7"
    return json.dumps(content).encode()


def _pool_seed(name: str, text: str, annotations: Mapping[str, str], **allocations: Any) -> bytes:
    metadata = {"name": name, "resourceVersion": "7", "annotations": dict(annotations)}
    entries = {number.strip("_"): entry for number, entry in allocations.items()}
    return json.dumps({"metadata": metadata, "spec": {"range": text, "allocations": entries}}).encode()


def _seeds() -> tuple[bytes, ...]:
    hints = (
        Pool(PoolKey("", "10.0.0.0/16"), True)
        .with_exhausted("0badcafe", [10 << 24])
        .with_front("0badcafe", (10 << 24) + 256)
    )
    ours = {**{name: value for name, value in objects.pool_annotations(hints, 5).items() if value}}
    entry = {"id": "c" * 64, "podref": "default/a", "ifname": "net1"}
    slices = {
        "metadata": {"name": "blue", "resourceVersion": "7"},
        "spec": {"range": "10.0.0.0/16", "sliceSize": "/24"},
        "status": {
            "allocations": [
                {"nodeName": "node-1", "sliceRange": "10.0.0.0/24"},
                {"nodeName": "", "sliceRange": "10.0.1.0/24"},
            ]
        },
    }
    reservation = {
        "metadata": {"name": "blue-10.0.0.1", "resourceVersion": "7"},
        "spec": {"podref": "default/a"},
    }
    return (
        _block_seed(Space(), "10.0.1.0", 3),
        _block_seed(Space("blue"), "fd00::100", 0),
        _block_seed(Space("Not A Label", "10.0.0.0/16"), "10.0.1.0", 40),
        _pool_seed("10.0.0.0-16", "10.0.0.0/16", ours),
        _pool_seed("10.0.0.0-24", "10.0.0.8/24", {}, _1=entry, _255={"id": "x"}, _9000=entry),
        _pool_seed(
            "fd00---64", "fd00::/64", {objects.ADOPTING: "false"}, _18446744073709551615=entry, _7=entry
        ),
        json.dumps(slices).encode(),
        json.dumps(reservation).encode(),
        json.dumps(
            {"metadata": {"name": "fd00--1", "resourceVersion": "7"}, "spec": {"containerid": "c"}}
        ).encode(),
    )


SEEDS = _seeds()
WORDS = (
    *(
        "metadata",
        "spec",
        "status",
        "annotations",
        "labels",
        "name",
        "uid",
        "resourceVersion",
        "cidr",
        "network",
    ),
    *(
        "range",
        "owners",
        "allocated",
        "allocations",
        "id",
        "podref",
        "ifname",
        "nodeName",
        "sliceRange",
        "sliceSize",
    ),
    *(
        objects.ALLOCATED,
        objects.HINTED,
        objects.ADOPTING,
        *objects.OF_POOL,
        "true",
        "false",
        "10.0.0.0-16=1!2",
    ),
    *(
        "10.0.0.0/24",
        "10.0.0.0/16",
        "fd00::/120",
        "10.0.0.128/25",
        "10.0.1.0",
        "fd00-0-0-0-0-0-0-100",
        "own-10-0-0-0-16.10.0.1.0",
    ),
    *(
        "0badcafe@1=g1:",
        "9" * 5000,
        "²",
        "1e3",
        "::ffff:10.0.0.0/120",
        "10.0.0.0/255.255.0.0",
        "fe80::1%a/120",
        ".encoded",
    ),
)
TARGET = Target(check, SEEDS, [word for word in WORDS if len(word) < 60], mutator(WORDS), largest=8192)
