"""Blocks and pools as custom resources, and back.

The bitmap of a block and the hints of a pool stand in annotations, because the API server gives those
without the rest of an object where it is asked for metadata only.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from time import gmtime, strftime

from whereabouts._bitmap import Bitmap
from whereabouts._codec import TAG, CodecError, decode
from whereabouts.addresses import is_decimal
from whereabouts.block import BLOCK_SIZE, Block, BlockDamaged, BlockKey, Space
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import StoredBlock
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

GROUP = "whereabouts.cni.cncf.io"
API_VERSION = f"{GROUP}/v1alpha1"
ALLOCATED = f"{GROUP}/allocated"
"""On a block: its bitmap."""
HINTED = f"{GROUP}/hinted-by"
"""On a block: see :class:`Marks`."""
EXHAUSTED = f"{GROUP}/exhausted-blocks"
"""On a pool: its hints."""
WITHDRAWN = f"{GROUP}/hints-withdrawn"
"""On a pool: when a hint was taken back last, as a number that only grows."""
OVERLAPPING = f"{GROUP}/overlapping-ranges"
"""On a pool: whether it shares the space of its network. It also marks a pool whose records are in blocks."""
ADOPTING = f"{GROUP}/adopting-overlapping"
"""On a pool of the Go plugin: as which it is being adopted; said before the first record is moved."""
NODE = f"{GROUP}/node"
"""On the pool of a slice: whose it is."""
SLICE_OF = f"{GROUP}/slice-of"
"""On the pool of a slice: the range that it is a part of."""
OF_POOL = (OVERLAPPING, EXHAUSTED, WITHDRAWN, NODE, SLICE_OF)
"""All that a pool of ours may say."""
SPACE = f"{GROUP}/space"
"""Label of a block: stands for its space and family, so that those of one space can be listed."""

BLOCKS, POOLS, RESERVATIONS = "addressblocks", "ippools", "overlappingrangeipreservations"
SLICES = "nodeslicepools"
NO_MANAGED_FIELDS: tuple[dict[str, str]] = ({},)
"""Written once, it keeps the API server from ever again noting who wrote which field: half the object."""

_LONGEST_NAME = 253
_LONGEST_NUMBER = 20
"""Digits: of any number of 64 bits."""
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_ENCODED = ".encoded"


class Marks(NamedTuple):
    """What a pool has to do with a block.

    A pool that calls the block exhausted, or is about to, has said so ``flags`` times: then whoever frees an
    address here has to tell the pool. ``withdrawn`` is the number of the pool's last taking-back of hints
    that users of this block have to know of.
    """

    withdrawn: int
    flags: int = 0


BlockMarks = dict[str, Marks]
"""The marks of a block, by the object names of pools."""


def read_marks(metadata: Any) -> BlockMarks:
    """The marks in an object's metadata; what cannot be read is passed over."""
    marks: BlockMarks = {}
    for entry in ((metadata.get("annotations") or {}).get(HINTED) or "").split():
        name, _, numbers = entry.partition("=")
        withdrawn, _, flags = numbers.partition("!")
        if is_decimal(withdrawn, _LONGEST_NUMBER) and (is_decimal(flags, _LONGEST_NUMBER) or not flags):
            marks[name] = Marks(int(withdrawn), int(flags or 0))
    return marks


def print_marks(marks: BlockMarks) -> str:
    """The annotation's value: ``pool=withdrawn!flags``, separated by blanks."""
    return " ".join(
        f"{name}={mark.withdrawn}" + (f"!{mark.flags}" if mark.flags else "")
        for name, mark in sorted(marks.items())
    )


# ------------------------------------------------------------------------ blocks


def space_label(space: Space, version: int) -> str:
    """A label's value for a space. Spaces may share one by accident: names tell them apart."""
    return f"{crc32(repr((*space, version)).encode()):08x}"


def block_object(block: Block, marks: BlockMarks, metadata: Any = None) -> dict[str, Any]:
    """A block's object as it is created, or as it replaces the one with this ``metadata``.

    What others have put into the metadata stays. A replacement takes the API server two thirds of the time
    of a merge patch.
    """
    key = block.key
    spec = {"cidr": str(key.cidr), "network": key.space.network_name}
    if key.space.own_range:
        spec["range"] = key.space.own_range
    before = metadata or {"name": key.name, "labels": {SPACE: space_label(key.space, key.version)}}
    annotations = {
        **(before.get("annotations") or {}),
        ALLOCATED: TAG + b2a_base64(block.bitmap(), newline=False).decode(),
        HINTED: print_marks(marks),
    }
    if not marks:
        del annotations[HINTED]
    now = {**before, "annotations": annotations}
    if metadata is not None:
        now["managedFields"] = NO_MANAGED_FIELDS
    return {
        "apiVersion": API_VERSION,
        "kind": "AddressBlock",
        "metadata": now,
        "spec": {
            **spec,
            "allocated": len(block),
            "owners": b2a_base64(block.owners(), newline=False).decode(),
        },
    }


def read_block(key: BlockKey, content: Any) -> StoredBlock:
    """A block from its whole object."""
    revision = str(content["metadata"]["resourceVersion"])
    return StoredBlock.judged(key, revision, lambda: _block(key, content), lambda: _raw(content))


def _block(key: BlockKey, content: Any) -> Block:
    text = (content["metadata"].get("annotations") or {}).get(ALLOCATED) or ""
    if not text.startswith(TAG):
        raise BlockDamaged(f"block {key.name}: the annotation {ALLOCATED} is missing or of an unknown form")
    try:
        halves = _base64(text[len(TAG) :]), _base64((content.get("spec") or {}).get("owners") or "")
    except ValueError as error:  # binascii's own error is one, and it has another for what is not ASCII
        raise BlockDamaged(f"block {key.name}: {error}") from error
    return Block.from_halves(key, *halves)


def _raw(content: Any) -> Sequence[tuple[str, bytes]]:
    allocated = (content["metadata"].get("annotations") or {}).get(ALLOCATED) or ""
    owners = (content.get("spec") or {}).get("owners") or ""
    return (("allocated", allocated.encode()), ("owners", owners.encode()))


def _base64(text: str) -> bytes:
    return a2b_base64(text, strict_mode=True)


def read_bitmap(metadata: Any) -> Bitmap | None:
    """The bitmap in a block's metadata; None where it cannot be trusted."""
    try:
        return decode((metadata.get("annotations") or {}).get(ALLOCATED) or "", BLOCK_SIZE)
    except CodecError:
        return None


def key_of_block(content: Any) -> BlockKey | None:
    """Which block a whole object is; None where its name and fields do not agree."""
    spec = content.get("spec") or {}
    try:
        cidr = ip_network(spec["cidr"])
        space = Space(spec.get("network") or "", spec.get("range") or "")
        key = BlockKey(space, cidr.version, int(cidr.network_address))
        return key if key.name == content["metadata"]["name"] and key.cidr == cidr else None
    except (KeyError, ValueError, TypeError):
        return None


def key_in_space(space: Space, version: int, name: str) -> BlockKey | None:
    """Which block of a space an object's name stands for; None for one of another space."""
    text = ".".join(name.split(".")[-4:]) if version == 4 else name.rpartition(".")[2].replace("-", ":")
    try:
        address = ip_address(text)
    except ValueError:
        return None
    key = BlockKey.of(space, address)
    return key if address.version == version and key.name == name else None


# ------------------------------------------------------------------------- pools


def pool_name(key: PoolKey) -> str:
    """The name of a pool's object: the Go plugin's where Kubernetes takes it.

    It takes none for a range that begins with ``::``.
    """
    return object_name(key.name)


def object_name(name: str) -> str:
    """A name as one that Kubernetes takes.

    Any other stands as the hexadecimal form of its bytes with ``.encoded`` behind it, where the Go plugin's
    names end in a prefix length.
    """
    labels = name.split(".")
    valid = _NAME.issuperset(name) and all(label and label.strip("-") == label for label in labels)
    return name if valid and len(name) <= _LONGEST_NAME else f"{name.encode().hex()}{_ENCODED}"


def named(name: str) -> str:
    """The name that an object's name stands for; ValueError for one that :func:`object_name` never gives."""
    return bytes.fromhex(name.removesuffix(_ENCODED)).decode() if name.endswith(_ENCODED) else name


def new_pool(pool: Pool, annotations: dict[str, str]) -> dict[str, Any]:
    """A pool's object as it is created."""
    return {
        "apiVersion": API_VERSION,
        "kind": "IPPool",
        "metadata": {"name": pool_name(pool.key), "annotations": annotations},
        "spec": {"range": pool.key.range, "allocations": {}},
    }


def slice_annotations(key: PoolKey) -> dict[str, str]:
    """What the annotations of the pool of a node's slice say beside; nothing for others."""
    return {NODE: key.node, SLICE_OF: key.whole} if key.node else {}


def pool_annotations(pool: Pool, withdrawn: int) -> dict[str, str | None]:
    """What a pool's annotations say."""
    return {
        **slice_annotations(pool.key),
        OVERLAPPING: "true" if pool.shared else "false",
        EXHAUSTED: pool.hints() or None,
        WITHDRAWN: str(withdrawn) if withdrawn else None,
    }


def read_slice(metadata: Any) -> tuple[str, str]:
    """The node whose slice a pool is of, and the range that this is a part of; empty for all others."""
    annotations = metadata.get("annotations") or {}
    return annotations.get(NODE) or "", annotations.get(SLICE_OF) or ""


def is_ours(content: Any) -> bool:
    """Whether the pool's records are in blocks."""
    return OVERLAPPING in (content["metadata"].get("annotations") or {})


def adopted_as(content: Any) -> bool | None:
    """Whether a pool that is being adopted will share the space of its network; None where nobody began."""
    said = (content["metadata"].get("annotations") or {}).get(ADOPTING)
    return None if said is None else said != "false"


def is_shared(metadata: Any) -> bool:
    """Whether a pool of ours shares the space of its network."""
    return (metadata.get("annotations") or {}).get(OVERLAPPING) != "false"


def read_pool(key: PoolKey, metadata: Any) -> Pool:
    """A pool of ours from its metadata."""
    hints = (metadata.get("annotations") or {}).get(EXHAUSTED) or ""
    return Pool.with_hints(key, is_shared(metadata), hints)


def read_withdrawn(metadata: Any) -> int:
    """The number of a pool's last taking-back of hints; 0 where there was none."""
    text = (metadata.get("annotations") or {}).get(WITHDRAWN) or ""
    return int(text) if is_decimal(text, _LONGEST_NUMBER) else 0


def timestamp(seconds: float) -> str:
    """A time as Kubernetes writes it."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))
